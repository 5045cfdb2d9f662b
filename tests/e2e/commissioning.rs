//! A fleet of unlike machines: each learns what it looks like itself, is judged by that, and forgets it when it is repaired.

use anyhow::{Context, Result};
use tocsin_contracts::fleet::v1::CommissionSensorRequest;
use tocsin_contracts::incidents::v1::GetIncidentRequest;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::{
    AcceptPlateauRequest, ActivateRequest, ApproveRequest, FleetReplay, FollowRequest, LoggedScores, ProposeRequest,
    TestRequest, ThresholdSet as WireSet,
};
use tocsin_contracts::time;
use tocsin_domain::{BaselineId, Condition, Detector, ThresholdSetId, Verdict};
use tocsin_judge::ThresholdSet;
use tocsin_tests::fleet::GAINS;
use tocsin_tests::stage::{CLASS, SITE};
use tocsin_tests::{Fleet, Plant};

/// Brings limits by fleet replay over all that was sent from proposed to active.
async fn fleet_replay_limits(fleet: &Fleet) -> Result<WireSet> {
    let mut client = fleet.recalibrator();
    let period = LoggedScores {
        from: Some(time::to_wire(Plant::start())),
        to: Some(time::to_wire(fleet.end())),
    };
    let propose = ProposeRequest {
        class: CLASS.to_owned(),
        bundle: String::new(),
        source: Some(Source::Logged(period)),
        reason: "each against itself".to_owned(),
        method: Some(Method::FleetReplay(FleetReplay::default())),
    };
    let set = client
        .propose(propose)
        .await?
        .into_inner()
        .threshold_set
        .context("a set")?;
    let (threshold_set_id, reason) = (set.threshold_set_id, String::new());
    client.test(TestRequest { threshold_set_id }).await?;
    let approve = ApproveRequest {
        threshold_set_id,
        reason: reason.clone(),
    };
    client.approve(approve).await?;
    let activate = ActivateRequest {
        threshold_set_id,
        reason,
    };
    client.activate(activate).await?;
    Ok(set)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_outgrows_its_own_past_pages_while_it_is_still_no_louder_than_the_fleet() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let states = fleet.states().await?;
    assert!(
        states
            .iter()
            .all(|state| (state.state.as_str(), state.epoch) == ("commissioning", 1))
    );
    fleet.healthy_steps(40).await?;
    let states = fleet.commission().await?;
    assert!(
        states.iter().all(|state| state.readings >= 20 && state.baseline_id > 0),
        "{states:#?}"
    );
    fleet
        .until("readings against a baseline", |reading| reading.baseline.is_some())
        .await?;
    fleet.healthy_steps(40).await?;

    let set = fleet_replay_limits(&fleet).await?;
    for part in ["fleet replay: alert 1.75, page 2.5", "\"machines\":5", "held out"] {
        let provenance = set.provenance_json.replace("\": ", "\":");
        assert!(provenance.contains(part), "{part}: {provenance}");
    }
    let active = Some(ThresholdSetId(set.threshold_set_id));
    fleet
        .until("the new limits", |reading| reading.threshold_set == active)
        .await?;

    // As loud as its louder neighbours have always been.
    for _ in 0..12 {
        fleet.step(|number| Plant::healthy_at(1.4 * GAINS[0].1, number)).await?;
    }
    let newest = fleet.newest().await?;
    assert_eq!(newest.baseline, Some(BaselineId(states[0].baseline_id)));
    // What rose in all bins has shifted as well, and either may stand higher over its own line.
    let Verdict::Page { by } = newest.verdict else {
        panic!("{:?}", newest.verdict)
    };
    assert!(matches!(by, Detector::Growth | Detector::Shift), "{by}");
    let percentiles = ThresholdSetId(fleet.registered.threshold_set_id);
    let fleet_wide = fleet.stage.store.threshold_set_get(percentiles).await?;
    let fleet_wide: ThresholdSet = serde_json::from_str(&fleet_wide.definition_json)?;
    let missed = fleet_wide.judge(&newest.scores, Condition::default(), false).verdict;
    assert!(
        matches!(missed, Verdict::Normal { .. }),
        "the fleet's percentiles say {missed:?}"
    );
    let pages = fleet
        .stage
        .receiver
        .wait_until("the page", |pages| !pages.is_empty())
        .await?;
    assert_eq!(pages[0]["machine"], "m1", "{:#}", pages[0]);
    told_against_the_baseline(&fleet, &pages[0], states[0].baseline_id).await?;

    repaired(&mut fleet).await?;
    fleet.stage.stop().await
}

/// The page and the evidence name the baseline, and the bins that stand out from it.
async fn told_against_the_baseline(fleet: &Fleet, page: &serde_json::Value, baseline: i32) -> Result<()> {
    let told = &page["evidence"];
    assert_eq!(told["baseline_id"], baseline, "{page:#}");
    // What rose in all bins takes more than five of them to be a page.
    let bins = told["top_bins"].as_array().map_or(0, Vec::len);
    assert!(bins == 5 || (bins > 5 && told["top_bins_decide"] == true), "{page:#}");
    let mut incidents = IncidentsServiceClient::new(fleet.stage.running.service_channel());
    let incident_id = page["incident_id"].as_i64().context("a number")?;
    let whole = incidents
        .get_incident(GetIncidentRequest { incident_id })
        .await?
        .into_inner();
    let mut grown = whole
        .evidence
        .iter()
        .filter(|piece| matches!(piece.detector.as_str(), "growth" | "shift"))
        .peekable();
    assert!(grown.peek().is_some(), "{:#?}", whole.evidence);
    for piece in grown {
        assert_eq!((piece.baseline_id, piece.bin_error.len()), (baseline, 64));
        let whole: f32 = piece.bin_error.iter().sum();
        assert!(
            (whole - 1.0).abs() < 0.01,
            "shares of the deviation, not errors: {whole}"
        );
    }
    Ok(())
}

/// A new epoch takes the baseline away: the machine borrows the fleet's limits again, and those don't page.
async fn repaired(fleet: &mut Fleet) -> Result<()> {
    let request = CommissionSensorRequest {
        site: SITE.to_owned(),
        machine: "m1".to_owned(),
        sensor: "h".to_owned(),
        reason: "new bearing".to_owned(),
        ..CommissionSensorRequest::default()
    };
    let sensor = fleet
        .fleet_service()
        .commission_sensor(request)
        .await?
        .into_inner()
        .sensor;
    let state = sensor.and_then(|sensor| sensor.commissioning).context("a state")?;
    assert_eq!(
        (state.epoch, state.state.as_str(), state.baseline_id),
        (2, "commissioning", 0)
    );
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action = $1 and subject = $2")
        .bind("sensor.commission")
        .bind("works/m1/h")
        .fetch_one(fleet.stage.store.pool())
        .await?;
    assert_eq!(audited, 1);
    fleet
        .until("readings without a baseline", |reading| reading.baseline.is_none())
        .await?;
    fleet.step(Plant::failing).await?;
    let newest = fleet.newest().await?;
    assert!(matches!(newest.verdict, Verdict::Alert { .. }), "{newest:?}");
    assert_eq!(newest.scores.get(Detector::Growth), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn baselines_follow_a_fleet_that_rises_and_hold_a_machine_that_rises_alone_until_a_person_accepts() -> Result<()>
{
    let mut fleet = Fleet::start().await?;
    fleet.healthy_steps(40).await?;
    let commissioned = fleet.commission().await?;
    fleet.recalibrator().follow(FollowRequest {}).await?;
    assert!(fleet.drift().await?.iter().all(|sensor| sensor.finding == "steady"));

    // A warm week: everything is 1.2 dB louder, and m1 rises by another 4 dB that nobody shares.
    fleet.louder = 1.15;
    for _ in 0..30 {
        let m1 = |number| Plant::healthy_at(1.15 * 1.6 * GAINS[0].1, number);
        fleet.step(m1).await?;
    }
    let followed = fleet.recalibrator().follow(FollowRequest {}).await?.into_inner();
    assert_eq!(followed.activated, 4, "the four that moved together");
    let drift = fleet.drift().await?;
    assert_eq!(drift.len(), 5);
    for sensor in &drift[1..] {
        assert_eq!((sensor.finding.as_str(), sensor.held), ("drift", false), "{sensor:?}");
        assert!((0.8..1.6).contains(&sensor.active_db), "{sensor:?}");
    }
    let m1 = &drift[0];
    assert_eq!((m1.finding.as_str(), m1.held), ("suspicion", true), "{m1:?}");
    assert!(m1.recent_db > 4.0 && m1.active_db < 0.1, "{m1:?}");

    let mut accept = AcceptPlateauRequest {
        site: SITE.to_owned(),
        machine: "m1".to_owned(),
        sensor: "h".to_owned(),
        reason: String::new(),
    };
    let refused = fleet.recalibrator().accept_plateau(accept.clone()).await.unwrap_err();
    assert!(refused.message().starts_with("reason: "), "{refused:?}");
    accept.reason = "new pump impeller".to_owned();
    let accepted = fleet.recalibrator().accept_plateau(accept).await?.into_inner();
    let m1 = accepted.sensor.context("a sensor")?;
    assert_eq!((m1.finding.as_str(), m1.held), ("steady", false));

    let states = fleet.states().await?;
    assert!(
        states
            .iter()
            .zip(&commissioned)
            .all(|(now, then)| now.epoch == then.epoch && now.baseline_id != then.baseline_id)
    );
    let baseline = Some(BaselineId(states[0].baseline_id));
    fleet
        .until("readings against the accepted plateau", |reading| {
            reading.baseline == baseline
        })
        .await?;
    fleet.stage.stop().await
}
