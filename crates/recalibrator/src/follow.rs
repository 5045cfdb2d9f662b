//! Lets baselines follow their sensors, group by group: what [`tocsin_detect::drift`] allows, on what the store kept.
//!
//! A round looks at each sensor's healthy readings since the last one, holds its move against its peers' moves, and gives
//! it the next version of its baseline where the rule lets it move. What came of it is kept for every sensor, moved or
//! not: the finding is what the console and `tocsin sensors drift` show.
//!
//! A baseline that a person took back is looked at and reported as ever, and moves nowhere.
//!
//! **Invariant:** nothing here lets a machine's own rise into its baseline. That takes a person
//! ([`Follower::accept_plateau`]).

use std::time::Duration;

use serde_json::{Value, json};
use tocsin_detect::baseline::MIN_READINGS;
use tocsin_detect::drift::{Cusum, Finding, FollowRule, Followed, Standing, Suspected, follow_class};
use tocsin_detect::{Baseline, Commissioned, MalformedModel, OverallLevel, Reference, Rows, Trend, log_spectrum_into};
use tocsin_domain::{BaselineId, Clock, Codec, Scope, SensorId, SpectrumSpec, Timestamp};
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::following::{FollowingSensor, Group, NewRound, NextVersion, RecentSpectra};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::drift::sensor_entry;

/// Most readings of a period a median is taken of: of more, every so-manieth.
const MOST_READINGS: u32 = 500;

/// How long a group is this process's own.
const LEASE: Duration = Duration::from_mins(30);

/// Decibels of a natural logarithm of an amplitude.
const DB_PER_LN: f32 = 20.0 / std::f32::consts::LN_10;

/// Looks for groups that are due.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) rule: FollowRule,
    pub(crate) period: Duration,
}

/// A sensor, what it was commissioned as, and what it read since the last round.
struct Looked {
    sensor: FollowingSensor,
    commissioned: Reference,
    recent: Option<Vec<f32>>,
    /// Whether an incident was open since: then it is compared with its peers, and does not follow.
    disturbed: bool,
    readings: usize,
    until: Timestamp,
}

/// What keeps a baseline from following its sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// The sensor is suspected: its baseline goes only where that allows.
    Suspected(Suspected),
    /// A person took the baseline back: it goes nowhere, whatever its sensor does.
    Person,
}

impl Follower {
    /// Follows whenever a group is due, until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            loop {
                match self.round(Some(self.period), "recalibrator").await {
                    Ok(0) => {}
                    Ok(activated) => tracing::info!(activated, "baselines followed their sensors"),
                    Err(error) => tracing::warn!(%error, "baselines wait to follow their sensors"),
                }
                tokio::time::sleep(self.period.min(Duration::from_mins(5))).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Lets every group follow whose last round is a period ago, or every one; answers how many baselines moved.
    pub(crate) async fn round(&self, period: Option<Duration>, by: &str) -> Result<u32, Error> {
        let (store, mut activated, mut done) = (&self.store, 0, Vec::new());
        while let Some(group) = store.following_lease(self.clock.now(), period, LEASE, &done).await? {
            done.push(group);
            match self.follow(group, by).await {
                Ok(moved) => activated += moved,
                Err(error @ Error::Store(tocsin_store::Error::Unavailable { .. })) => return Err(error),
                Err(error) => {
                    tracing::warn!(class = %group.class, spec = %group.spec, %error, "a class does not follow this time");
                }
            }
        }
        Ok(activated)
    }

    async fn follow(&self, group: Group, by: &str) -> Result<u32, Error> {
        let spec = self.store.spec_by_id(group.spec).await?.spec;
        let mut looked = Vec::new();
        for sensor in self.store.following_sensors(&Scope::All, group).await? {
            looked.extend(self.look(sensor, &spec).await?);
        }
        if looked.is_empty() {
            return self.record(group, &[], by).await;
        }
        let (rule, who) = (self.rule, by.to_owned());
        let rounds = tokio::task::spawn_blocking(move || rounds(&looked, rule, &who)).await?;
        let rounds = rounds.map_err(|error| Error::NoBaseline(error.to_string()))?;
        self.record(group, &rounds, by).await
    }

    /// Records a round; answers how many baselines moved.
    async fn record(&self, group: Group, rounds: &[NewRound], by: &str) -> Result<u32, Error> {
        let audit = |moved: &Vec<(SensorId, BaselineId)>| {
            let subject = format!("class:{}, spec:{}", group.class, group.spec);
            let moved: Vec<Value> = moved
                .iter()
                .map(|(sensor, baseline)| json!({ "sensor": sensor, "baseline": baseline }))
                .collect();
            NewAuditEntry::new(by, "baselines.follow", subject, &json!({ "moved": moved }))
        };
        let now = self.clock.now();
        let moved = self.store.following_record(group, rounds, now, audit).await?;
        Ok(u32::try_from(moved.len()).unwrap_or(u32::MAX))
    }

    /// Nothing of a sensor that has sent nothing since the last round, or whose baseline makes no sense.
    async fn look(&self, sensor: FollowingSensor, spec: &SpectrumSpec) -> Result<Option<Looked>, Error> {
        let whose = (sensor.sensor, sensor.machine);
        let recent = self
            .store
            .following_spectra(&Scope::All, whose, sensor.looked_until, MOST_READINGS)
            .await?;
        let Some(recent) = recent else { return Ok(None) };
        let spec = spec.clone();
        let looked = tokio::task::spawn_blocking(move || Looked::new(sensor, &recent, &spec)).await?;
        Ok(looked
            .inspect_err(
                |(sensor, error)| tracing::error!(%sensor, %error, "a baseline makes no sense, it does not follow"),
            )
            .ok())
    }

    /// A person takes a sensor's present state for its normal one: the median of its readings since before the last round,
    /// which showed the plateau, becomes its baseline, and what follows is counted from there.
    pub(crate) async fn accept_plateau(
        &self,
        scope: &Scope,
        sensor: SensorId,
        (by, reason): (&str, &str),
    ) -> Result<(), Error> {
        let (group, standing) = self.store.following_sensor(scope, sensor).await?;
        let spec = self.store.spec_by_id(group.spec).await?.spec;
        let newest = self.store.reading_get(scope, sensor, None).await?;
        let until = newest.map_or(standing.looked_until, |reading| reading.stored.key.captured_at);
        let period = (standing.looked_from, until);
        let spectra = self.store.plateau_spectra(scope, sensor, period, MOST_READINGS).await?;
        let recent = RecentSpectra {
            spectra,
            disturbed: false, // a person has looked
            until,
        };
        let looked = Looked::new(standing, &recent, &spec);
        let looked = looked.map_err(|(_, error)| Error::NoBaseline(error.to_string()))?;
        let median = looked.recent.clone().ok_or(Error::NoPlateau {
            readings: looked.readings,
            needed: MIN_READINGS,
        })?;
        let followed = Followed {
            median: median.clone(),
            finding: Finding::Steady,
            standing: 0.0,
            cusum: Cusum::default(),
            held: None,
        };
        let round = looked.round(&followed, (Some(median), None), (by, reason, true));
        let round = round.map_err(|error| Error::NoBaseline(error.to_string()))?;
        let audit = |(sensor, baseline): &(SensorId, BaselineId)| {
            let detail = json!({ "reason": reason, "baseline": baseline });
            sensor_entry(by, "sensor.accept_plateau", *sensor, &detail)
        };
        if !self.store.following_accept(&round, self.clock.now(), audit).await? {
            return Err(Error::Overtaken);
        }
        Ok(())
    }
}

impl Looked {
    fn new(
        sensor: FollowingSensor,
        recent: &RecentSpectra,
        spec: &SpectrumSpec,
    ) -> Result<Self, (SensorId, MalformedModel)> {
        let id = sensor.sensor;
        let (_, profile) = &sensor.commissioned;
        let (mean, sd) = sensor.log_energy;
        let commissioned = || {
            let trend = profile.trend.as_deref().map(Trend::from_bytes).transpose()?;
            Ok(Reference {
                baseline: Baseline::new(profile.median.clone(), profile.scale.clone(), trend)?,
                overall_level: OverallLevel::from_parts(mean, sd)?,
                energy_trend: None,
            })
        };
        let commissioned = commissioned().map_err(|error| (id, error))?;
        Ok(Self {
            recent: median(recent, spec, &commissioned.baseline),
            disturbed: recent.disturbed,
            readings: if recent.disturbed { 0 } else { recent.spectra.len() },
            until: recent.until,
            sensor,
            commissioned,
        })
    }

    fn standing(&self) -> Standing<'_> {
        Standing {
            machine: i64::from(self.sensor.machine.0),
            commissioned: &self.commissioned.baseline,
            active: &self.sensor.active.1.median,
            recent: self.recent.clone(),
            disturbed: self.disturbed,
            usual: self.sensor.usual.as_deref(),
            cusum: Cusum::resume(self.sensor.cusum),
        }
    }

    /// The hold that is on the baseline, a person's before a suspicion.
    fn hold(&self, followed: &Followed) -> Option<Hold> {
        if self.sensor.held_by_person {
            return Some(Hold::Person);
        }
        followed.held.map(Hold::Suspected)
    }

    fn round(
        &self,
        followed: &Followed,
        (next, hold): (Option<Vec<f32>>, Option<Hold>),
        (by, reason, accepted): (&str, &str, bool),
    ) -> Result<NewRound, MalformedModel> {
        let from = self.commissioned.baseline.median();
        let next = next
            .map(|median| {
                let reference = self.commissioned.followed(median)?;
                Ok(NextVersion {
                    median: reference.baseline.median().to_vec(),
                    log_energy_mean: reference.overall_level.mean(),
                })
            })
            .transpose()?;
        Ok(NewRound {
            sensor: self.sensor.sensor,
            epoch: self.sensor.epoch,
            active: self.sensor.active.0,
            until: self.until,
            readings: u32::try_from(self.readings).unwrap_or(u32::MAX),
            finding: followed.finding.as_str(),
            standing: followed.standing,
            cusum: followed.cusum.sum(),
            held: hold.is_some(),
            // Where a sensor usually stands is told from undisturbed periods alone.
            recent: self.recent.clone().filter(|_| !self.disturbed),
            recent_db: self.recent.as_ref().map_or(0.0, |recent| rise_db(from, recent)),
            active_db: rise_db(from, &followed.median),
            next,
            by: by.to_owned(),
            reason: reason.to_owned(),
            accepted,
        })
    }
}

fn rounds(looked: &[Looked], rule: FollowRule, by: &str) -> Result<Vec<NewRound>, MalformedModel> {
    let standings: Vec<Standing<'_>> = looked.iter().map(Looked::standing).collect();
    let reason = format!(
        "followed its sensor: down by at most {} dB, up with its class by at most {} dB from what was commissioned",
        rule.down_db, rule.common_up_db
    );
    let followed = follow_class(&standings, rule);
    let round = |(looked, mut followed): (&Looked, Followed)| {
        let active = &looked.sensor.active.1.median;
        let hold = looked.hold(&followed);
        if hold == Some(Hold::Person) {
            followed.median.clone_from(active);
        }
        let next = (followed.median != *active).then(|| followed.median.clone());
        looked.round(&followed, (next, hold), (by, &reason, false))
    };
    looked.iter().zip(followed).map(round).collect()
}

/// Median log spectrum of a period, at the centre of the conditions the sensor was commissioned in; nothing of too few
/// readings, or of any that has other bins.
fn median(recent: &RecentSpectra, spec: &SpectrumSpec, baseline: &Baseline) -> Option<Vec<f32>> {
    let bins = baseline.bins();
    if recent.spectra.len() < MIN_READINGS || recent.spectra.iter().any(|s| s.spectrum.codes().len() != bins) {
        return None;
    }
    let codec = Codec::for_spec(spec);
    let mut linear = vec![0.0; recent.spectra.len() * bins];
    for (column, amplitudes) in recent.spectra.iter().zip(linear.chunks_mut(bins)) {
        codec.decode_into(column.spectrum.codes(), amplitudes);
    }
    let mut log = vec![0.0; linear.len()];
    log_spectrum_into(&linear, spec.canonical_s0(), &mut log);
    for (column, log) in recent.spectra.iter().zip(log.chunks_mut(bins)) {
        baseline.remove_trend(column.condition, log);
    }
    let fit = Commissioned::fit(Rows::new(&log, bins).ok()?, &[]).ok()?;
    Some(fit.median().to_vec())
}

/// Root mean square of the rises of one median above another, in dB of 1 + s/s0.
fn rise_db(from: &[f32], to: &[f32]) -> f32 {
    let rises = to.iter().zip(from).map(|(to, from)| (to - from).max(0.0).powi(2));
    DB_PER_LN * (rises.sum::<f32>() / from.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::MachineId;
    use tocsin_store::baseline::Profile;

    const BINS: usize = 64;

    /// A sensor that was commissioned at 5 and stands at `recent` now, in every bin.
    fn looked(machine: i32, recent: f32, held_by_person: bool) -> Looked {
        let profile = Profile {
            median: vec![5.0; BINS],
            spread: vec![0.1; BINS],
            scale: vec![0.1; BINS],
            trend: None,
        };
        Looked {
            commissioned: Reference {
                baseline: Baseline::new(profile.median.clone(), profile.scale.clone(), None).unwrap(),
                overall_level: OverallLevel::from_parts(1.0, 0.1).unwrap(),
                energy_trend: None,
            },
            sensor: FollowingSensor {
                sensor: SensorId(machine),
                machine: MachineId(machine),
                epoch: 1,
                commissioned: (BaselineId(machine), profile.clone()),
                log_energy: (1.0, 0.1),
                active: (BaselineId(machine), profile),
                usual: None,
                cusum: 0.0,
                looked_until: Timestamp::from_micros(0),
                looked_from: Timestamp::from_micros(0),
                held_by_person,
            },
            recent: Some(vec![recent; BINS]),
            disturbed: false,
            readings: MIN_READINGS,
            until: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn a_persons_hold_is_no_suspicion_and_goes_before_one() {
        // All drift up together, but the second, which falls alone; a person holds it and the first.
        let fleet = [
            (5.1, true),
            (4.0, true),
            (5.1, false),
            (5.1, false),
            (5.1, false),
            (5.1, false),
        ];
        let looked: Vec<Looked> = (1..)
            .zip(fleet)
            .map(|(machine, (at, held))| looked(machine, at, held))
            .collect();
        let rounds = rounds(&looked, FollowRule::default(), "test").unwrap();
        let told = |of: usize| (rounds[of].finding, rounds[of].held, rounds[of].next.is_some());
        assert_eq!(
            told(0),
            ("drift", true, false),
            "what it is found to do is told as ever"
        );
        assert_eq!(told(1), ("suspicion", true, false));
        assert_eq!(told(2), ("drift", false, true));

        let standings: Vec<Standing<'_>> = looked.iter().map(Looked::standing).collect();
        let followed = follow_class(&standings, FollowRule::default());
        let hold = |of: usize| looked[of].hold(&followed[of]);
        assert_eq!(
            (hold(0), hold(1), hold(2)),
            (Some(Hold::Person), Some(Hold::Person), None)
        );
        let mut let_go = looked;
        let_go[1].sensor.held_by_person = false;
        assert_eq!(let_go[1].hold(&followed[1]), Some(Hold::Suspected(Suspected::Fallen)));
    }
}
