//! One plant from its first readings to its second model: commissioned, judged by limits of its own, followed as it drifts,
//! given limits on schedule that a person takes back, fitted anew, tried in the shadow, promoted. Every reading names what
//! judged it, none is lost at a switch, and a verdict is explained by what judged it, however much has changed since.

mod hands;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin::Role;
use tocsin_contracts::recalibrator::v1::FollowRequest;
use tocsin_contracts::review::v1::GetVerdictResponse;
use tocsin_domain::{BaselineId, BundleId, Scope, ThresholdSetId, Timestamp};
use tocsin_judge::ThresholdSet;
use tocsin_tests::fleet::GAINS;
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Fleet, Plant};

use hands::number;

/// Limits and the bundle they are for.
type InForce = (ThresholdSetId, BundleId);

/// A reading's verdict as it was explained, and what `tocsin thresholds explain` said while it was the newest.
struct Explained {
    at: Timestamp,
    in_force: InForce,
    baseline: BaselineId,
    verdict: GetVerdictResponse,
    sensor: Value,
}

struct Story {
    fleet: Fleet,
    /// What came into force, in order.
    in_force: Vec<InForce>,
    /// The baselines of `m1`, in order.
    baselines: Vec<BaselineId>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plant_changes_limits_baselines_and_model_and_every_verdict_is_still_explained_by_what_judged_it()
-> Result<()> {
    let mut story = Story::begins().await?;
    story.commissions().await?;
    let set = story.sets().await?;
    let before = story.judges_a_fault().await?;
    story.drifts().await?;
    let proposed = story.proposes(set).await?;
    story.approves(set, proposed).await?;
    story.rolls_back(set, proposed).await?;
    let challenger = story.retrains().await?;
    story.shadows(challenger).await?;
    story.promotes(challenger).await?;
    let after = story.judges_a_fault().await?;
    story.explains(&before, &after).await?;
    story.has_lost_nothing().await?;
    story.fleet.stage.stop().await
}

impl Story {
    async fn begins() -> Result<Self> {
        let mut fleet = Fleet::by_hand(|config| {
            config.ensemble.shadow_share = 1.0;
            config.trainer.poll_interval_ms = 200;
            config.trainer.epochs = Some(3);
            config.trainer.fewest_readings = 100;
        })
        .await?;
        let registered = &fleet.registered;
        let first = (
            ThresholdSetId(registered.threshold_set_id),
            BundleId(registered.bundle_id),
        );
        let set = Some(first.0);
        fleet
            .until("the first limits", |reading| reading.threshold_set == set)
            .await?;
        Ok(Self {
            fleet,
            in_force: vec![first],
            baselines: Vec::new(),
        })
    }

    /// Each machine learns what it looks like, and is held against that from then on.
    async fn commissions(&mut self) -> Result<()> {
        let fleet = &mut self.fleet;
        assert_eq!(fleet.newest().await?.baseline, None);
        fleet.healthy_steps(40).await?;
        let states = fleet.commission().await?;
        assert_eq!(states.len(), GAINS.len());
        assert!(
            states
                .iter()
                .all(|state| (state.epoch, state.baseline_id > 0) == (1, true))
        );
        self.is_held_against(states[0].baseline_id).await
    }

    /// Limits against those baselines, from what the fleet reached; in force while readings go on coming.
    async fn sets(&mut self) -> Result<ThresholdSetId> {
        self.fleet.healthy_steps(40).await?;
        let (from, to) = (Plant::start().to_string(), self.fleet.end().to_string());
        let factors = [
            "--method",
            "fleet-replay",
            "--alert-factor",
            "2.5",
            "--page-factor",
            "4",
        ];
        let period = ["--from", &from, "--to", &to];
        let set = self.proposed(&[&factors[..], &period].concat()).await?;
        let early = self
            .fleet
            .stage
            .ask(&["thresholds", "activate", &set.to_string()])
            .await;
        assert!(early.is_err(), "nobody has tested it or agreed to it: {early:?}");
        self.test_and_approve(set).await?;
        self.activate(set).await?;
        Ok(set)
    }

    /// One reading of `m1` as of a failing machine, the same each time: a page line is crossed, and one reading is no
    /// incident.
    async fn judges_a_fault(&mut self) -> Result<Explained> {
        let at = self.fleet.end();
        self.fleet.step(|_| Plant::failing(7)).await?;
        let in_force = *self.in_force.last().context("limits in force")?;
        let baseline = *self.baselines.last().context("a baseline")?;
        let sensor = self.fleet.stage.ask(&["thresholds", "explain", "works/m1/h"]).await?["sensor"].take();
        let (set, bundle) = (&sensor["limits"], &sensor["bundle_id"]);
        assert_eq!(
            (&set["threshold_set_id"], bundle, &sensor["baseline"]["baseline_id"]),
            (&in_force.0.0.into(), &in_force.1.0.into(), &baseline.0.into())
        );
        assert_eq!(sensor["newest"]["captured_at"], at.to_string(), "{sensor:#}");
        let verdict = self.verdict(at).await?;
        assert_eq!(verdict.verdict, "page", "{:#?}", verdict.detectors);
        Ok(Explained {
            at,
            in_force,
            baseline,
            verdict,
            sensor,
        })
    }

    /// Some warm days: all machines grow louder together, and their baselines go with them.
    async fn drifts(&mut self) -> Result<()> {
        for louder in [1.0, 1.03, 1.06] {
            self.fleet.louder = louder;
            self.fleet.healthy_steps(25).await?;
            let followed = self.fleet.recalibrator().follow(FollowRequest {}).await?.into_inner();
            let drift = self.fleet.drift().await?;
            assert_eq!(followed.activated as usize, GAINS.len(), "{louder}: {drift:#?}");
            let active = self.fleet.states().await?[0].baseline_id;
            self.is_held_against(active).await?;
        }
        let drift = self.fleet.drift().await?;
        assert_eq!(drift.len(), GAINS.len());
        for sensor in &drift {
            assert_eq!((sensor.finding.as_str(), sensor.held), ("drift", false), "{sensor:?}");
            assert!(
                sensor.version > 1 && (0.3..0.8).contains(&sensor.active_db),
                "{sensor:?}"
            );
        }
        Ok(())
    }

    /// A recalibrator with a schedule finds the class due, proposes by the method of the limits in force, and waits.
    async fn proposes(&mut self, set: ThresholdSetId) -> Result<ThresholdSetId> {
        self.fleet.healthy_steps(40).await?;
        let stage = &self.fleet.stage;
        let scheduled = stage.beside_with([Role::Recalibrator], |config| {
            config.recalibrator.policy.period_s = 300;
            config.recalibrator.policy.window_s = 400;
        });
        let scheduled = scheduled.await?;
        let waits = |said: &Value| said["thresholds"][0]["policy"].is_string();
        let listed = stage
            .ask_until(&["thresholds", "list", "--class", CLASS], waits)
            .await?;
        scheduled.shutdown().await;
        let proposed = &listed["thresholds"][0];
        assert_eq!(
            (&proposed["state"], &proposed["bundle_id"]),
            (&"tested".into(), &self.in_force[0].1.0.into())
        );
        let reason = format!("on schedule, by the method of threshold set {set}");
        assert_eq!(proposed["reason"], reason);
        let behind = &proposed["provenance"];
        assert_eq!(behind["method_kind"], "fleet_replay");
        assert_eq!(
            (&behind["factors"]["alert_factor"], &behind["factors"]["page_factor"]),
            (&2.5.into(), &4.0.into())
        );
        let decision = &behind["policy"];
        assert_eq!(
            (&decision["counted_from"], &decision["in_force"]),
            (&set.0.into(), &set.0.into())
        );
        let reasons = decision["waits_for"].as_array().context("reasons to wait")?;
        assert!(
            reasons.contains(&"recalibrator.policy.activate is off".into()),
            "{reasons:?}"
        );
        assert_eq!(decision["sensors"]["suspected"], 0, "{decision:#}");
        let (readings, machines) = (behind["readings"].as_u64(), &behind["machines"]);
        assert_eq!(machines, GAINS.len(), "{behind:#}");
        assert!(readings.is_some_and(|readings| readings >= 150), "{readings:?}");
        self.states(&[(set, "active")]).await?;
        Ok(ThresholdSetId(number(&proposed["threshold_set_id"])?))
    }

    /// A person agrees to what waited.
    async fn approves(&mut self, set: ThresholdSetId, proposed: ThresholdSetId) -> Result<()> {
        let arguments = [
            "thresholds",
            "approve",
            &proposed.to_string(),
            "--reason",
            "a warm week",
        ];
        let approved = self.fleet.stage.ask(&arguments).await?;
        assert_eq!(approved["threshold_set"]["state"], "approved");
        self.activate(proposed).await?;
        self.states(&[(set, "retired"), (proposed, "active")]).await
    }

    /// And thinks better of it.
    async fn rolls_back(&mut self, set: ThresholdSetId, proposed: ThresholdSetId) -> Result<()> {
        let bundle = self.in_force[0].1;
        let rollback = ["thresholds", "rollback", CLASS, "--reason", "the week was not so warm"];
        self.switch(&rollback, (set, bundle)).await?;
        self.states(&[(set, "active"), (proposed, "retired")]).await
    }

    /// The class's model is fitted anew on what was kept, and becomes the challenger.
    async fn retrains(&mut self) -> Result<BundleId> {
        let (since, until) = (Plant::start().to_string(), self.fleet.end().to_string());
        let period = ["--since", &since, "--until", &until, "--reason", "warm days"];
        let stage = &self.fleet.stage;
        stage
            .ask(&[&["models", "retrain", CLASS][..], &period].concat())
            .await?;
        let ended = |said: &Value| said["training_jobs"][0]["finished_at"].is_string();
        let jobs = stage.ask_until(&["models", "jobs", "--class", CLASS], ended).await?;
        let job = &jobs["training_jobs"][0];
        assert_eq!(job["state"], "done", "{job:#}");
        let challenger = BundleId(number(&job["bundle_id"])?);
        let listed = stage.ask(&["models", "list", "--class", CLASS]).await?;
        let aliases = [challenger, self.in_force[0].1].map(|bundle| {
            let mut all = listed["models"].as_array().into_iter().flatten();
            all.find(|one| one["bundle_id"] == bundle.0).map(|one| &one["alias"])
        });
        assert_eq!(aliases, [Some(&"challenger".into()), Some(&"champion".into())]);
        Ok(challenger)
    }

    /// It scores what the champion judges, and decides nothing: rows go on naming the champion alone.
    async fn shadows(&mut self, challenger: BundleId) -> Result<()> {
        let since = self.fleet.end();
        let mut compared = Value::Null;
        for _ in 0..20 {
            self.fleet.healthy_steps(10).await?;
            compared = self.fleet.stage.ask(&["models", "compare", CLASS]).await?["comparison"].take();
            if compared["healthy"].as_u64() >= Some(60) {
                break;
            }
        }
        assert!(compared["healthy"].as_u64() >= Some(60), "{compared:#}");
        assert_eq!(
            (&compared["champion_bundle_id"], &compared["challenger_bundle_id"]),
            (&self.in_force[0].1.0.into(), &challenger.0.into())
        );
        let judged_by_it = "select count(*) from reading where bundle_id = $1";
        assert_eq!(self.count(judged_by_it, challenger.0).await?, 0);
        let shadowed = "select count(*) from shadow_score s join reading r using (sensor_id, captured_at)
                        where s.bundle_id = $1 and r.bundle_id <> s.bundle_id";
        assert!(self.count(shadowed, challenger.0).await? >= 60);
        let newest = self.fleet.newest().await?;
        assert!(newest.key.captured_at >= since && newest.bundle == Some(self.in_force[0].1));
        Ok(())
    }

    /// With limits for its own scores; bundle and limits change in one.
    async fn promotes(&mut self, challenger: BundleId) -> Result<()> {
        let bundle = challenger.to_string();
        let set = self.proposed(&["--bundle", &bundle, "--method", "tail"]).await?;
        self.test_and_approve(set).await?;
        let number = set.to_string();
        let promote = ["models", "promote", &bundle, "--threshold-set", &number];
        let why = ["--reason", "knows the warm days"];
        self.switch(&[&promote[..], &why].concat(), (set, challenger)).await?;
        let before = self.in_force[self.in_force.len() - 2].0;
        self.states(&[(before, "retired"), (set, "active")]).await
    }

    /// Both verdicts, by what judged each: the first as it was told when it was new, to the last number.
    async fn explains(&self, before: &Explained, after: &Explained) -> Result<()> {
        assert_ne!(before.in_force, after.in_force);
        assert_ne!(before.in_force.1, after.in_force.1);
        assert_ne!(before.baseline, after.baseline);
        assert_ne!(before.sensor["bundle_digest"], after.sensor["bundle_digest"]);
        for then in [before, after] {
            let now = self.verdict(then.at).await?;
            assert_eq!(now, then.verdict);
            assert_eq!(
                (now.threshold_set_id, now.bundle_id, now.baseline_id),
                (then.in_force.0.0, then.in_force.1.0, then.baseline.0)
            );
            self.derives_from_its_set(then).await?;
        }
        let (old, new) = (&before.verdict, &after.verdict);
        assert_eq!(old.observed, new.observed, "the same was measured");
        assert_eq!(old.reconstructed.len(), old.observed.len());
        assert_ne!(old.reconstructed, new.reconstructed, "each by its own model");
        assert!(old.detectors.iter().any(|one| one.detector == "growth"));
        assert!(new.detectors.iter().all(|one| one.detector != "growth"), "{new:?}");
        Ok(())
    }

    /// The explanation's lines are those of the set that judged, and what it decides of the stored scores is the verdict.
    async fn derives_from_its_set(&self, then: &Explained) -> Result<()> {
        let store = &self.fleet.stage.store;
        let set = store.threshold_set_get(then.in_force.0).await?;
        let set: ThresholdSet = serde_json::from_str(&set.definition_json)?;
        for told in &then.verdict.detectors {
            let member = set
                .members
                .iter()
                .find(|member| member.detector.as_str() == told.detector);
            let lines = member.map(|member| (member.alert_line as f32, member.page_line as f32));
            assert_eq!(lines, Some((told.alert_line, told.page_line)), "{told:?}");
        }
        let sensor = self.fleet.sensor().await?;
        let stored = store.reading_get(&Scope::All, sensor, Some(then.at)).await?;
        let stored = stored.context("the reading")?.stored;
        assert_eq!(stored.key.captured_at, then.at);
        assert_eq!(set.judge(&stored.scores, stored.state, false).verdict, stored.verdict);
        let newest = &then.sensor["newest"];
        assert_eq!(
            (&newest["verdict"], &newest["deciding_detector"]),
            (
                &then.verdict.verdict.as_str().into(),
                &then.verdict.decided_by.as_str().into()
            )
        );
        Ok(())
    }

    /// All that was acknowledged is there, each step of all machines under one binding, the bindings one after the other as
    /// they came into force, the baselines as well; and none of it opened an incident.
    async fn has_lost_nothing(&self) -> Result<()> {
        let machines = GAINS.len() as i32;
        let sent = self.fleet.step as i64 * i64::from(machines);
        let stored = "select count(*) from reading where threshold_set_id >= $1";
        assert_eq!(self.count(stored, 0).await?, sent);
        let mixed = "select count(*) from (
                         select 1 from reading group by captured_at
                         having count(*) <> $1 or count(distinct (threshold_set_id, bundle_id)) <> 1) mixed";
        assert_eq!(self.count(mixed, machines).await?, 0);
        let opened = "select count(*) from incident where severity >= $1";
        assert_eq!(self.count(opened, 0).await?, 0);

        let pool = self.fleet.stage.store.pool();
        let judged = "select threshold_set_id, bundle_id from reading where threshold_set_id > 0 order by commit_seq";
        let mut judged: Vec<(i32, i32)> = sqlx::query_as(judged).fetch_all(pool).await?;
        judged.dedup();
        let in_force = self.in_force.iter().map(|(set, bundle)| (set.0, bundle.0));
        assert_eq!(judged, in_force.collect::<Vec<_>>());
        let held_against =
            "select baseline_id from reading where sensor_id = $1 and baseline_id > 0 order by commit_seq";
        let held_against = sqlx::query_scalar(held_against).bind(self.fleet.sensor().await?.0);
        let mut held_against: Vec<i32> = held_against.fetch_all(pool).await?;
        held_against.dedup();
        let baselines = self.baselines.iter().map(|baseline| baseline.0);
        assert_eq!(held_against, baselines.collect::<Vec<_>>());
        Ok(())
    }
}
