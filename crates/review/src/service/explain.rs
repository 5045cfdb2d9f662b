//! One verdict with all that it was made from, and made again.

use std::collections::BTreeMap;
use std::time::Duration;

use tocsin_contracts::review::v1;
use tocsin_contracts::time;
use tocsin_corpus::archive::Columns;
use tocsin_domain::{
    BaselineId, BundleId, CanonicalSpectrum, ContentHash, Detector, Level, ReadingFlags, ReadingKey, Scope,
    ScorerBuildId, SensorId, SeverityZones, ThresholdSetId, Timestamp, Verdict,
};
use tocsin_judge::step::{StepLevel, steps};
use tocsin_judge::{JudgedReading, Judgement};
use tocsin_models::Manifest;
use tocsin_store::reading::{FullReading, StoredReading};

use super::Service;
use crate::channel::Channel;
use crate::record::{Rederived, decided_by, state, state_word};
use crate::{Error, overall};

impl Service {
    pub(super) async fn explain(
        &self,
        scope: &Scope,
        asked: v1::ExplainVerdictRequest,
    ) -> Result<v1::ExplainVerdictResponse, Error> {
        let at = time::optional("at", asked.at)?;
        let channel = self.channel(scope, &asked.site, &asked.machine, &asked.sensor).await?;
        let sensor = channel.listing.sensor.id;
        let found = self.archive.reading(scope, sensor, at).await?;
        let reading = found.ok_or_else(|| Error::NoReading { sensor: channel.path() })?;
        let captured_at = reading.stored.key.captured_at;
        let later = self
            .store
            .rescored_range(scope, sensor, (captured_at, captured_at))
            .await?;
        let mut made = self.material().rederive(scope, &channel, vec![reading], later).await?;
        let made = made.pop().ok_or_else(|| Error::NoReading { sensor: channel.path() })?;
        let stored = &made.reading.stored;
        let has = |flag| stored.flags.contains(flag);
        let predecessors = made.reading.predecessors;
        Ok(v1::ExplainVerdictResponse {
            captured_at: Some(time::to_wire(captured_at)),
            received_at: Some(time::to_wire(stored.received_at)),
            reading: Some(self.canonical(&channel, &made).await?),
            condition_cell: state_word(state(&made.reading)).to_owned(),
            baseline: self.baseline_use(scope, stored.baseline).await?,
            bundle: self.bundle_use(stored.bundle).await?,
            threshold_set: self.set_use(stored.threshold_set).await?,
            detector_mask: stored.scores.mask().0.into(),
            detectors: detectors(&made),
            degraded: made.is_degraded(),
            historical: has(ReadingFlags::HISTORICAL),
            replay: has(ReadingFlags::REPLAY),
            borrowed: made
                .set
                .as_ref()
                .is_some_and(|set| set.is_borrowed_by(&stored.scores, made.is_degraded())),
            predecessors_from: predecessors.map(|some| time::to_wire(some.oldest)),
            predecessors: predecessors.map_or(0, |some| some.count.unsigned_abs().into()),
            step: Some(self.step(scope, &channel, captured_at).await?),
            stored: Some(decision(stored.verdict, None)),
            derived: Some(decision(made.judgement.verdict, made.judgement.level)),
            decision_matches: made.decision_matches(),
            scores_match: made.scores_match(),
            differences: made.differences(),
            scorer_build: self.build_name(made.reading.scorer_build).await?,
            deriving_build: tocsin_models::build().to_owned(),
            later: self.later(&made).await?,
        })
    }

    async fn canonical(&self, channel: &Channel, made: &Rederived) -> Result<v1::CanonicalReading, Error> {
        let FullReading {
            stored,
            content_hash,
            condition,
            overall,
            spectrum,
            ..
        } = &made.reading;
        let zones = if overall.is_empty() {
            SeverityZones::default()
        } else {
            self.zones(channel.listing.sensor.class).await?
        };
        let hash = |hash: ContentHash| hex::encode(hash.0.to_le_bytes());
        Ok(v1::CanonicalReading {
            bins: channel.spec.bins.into(),
            full_scale: channel.spec.canonical_full_scale(),
            unit: channel.spec.canonical_unit().to_owned(),
            clipped: stored.flags.contains(ReadingFlags::CLIPPED),
            codes: spectrum.clone().map(CanonicalSpectrum::into_codes).unwrap_or_default(),
            content_hash: hash(*content_hash),
            content_hash_found: made
                .again
                .as_ref()
                .map(|again| hash(again.content_hash))
                .unwrap_or_default(),
            rpm: condition.rpm,
            load: condition.load,
            overall: overall::values(&channel.spec, overall, &zones),
        })
    }

    async fn baseline_use(&self, scope: &Scope, id: Option<BaselineId>) -> Result<Option<v1::BaselineUse>, Error> {
        let Some(id) = id else { return Ok(None) };
        let stored = self.store.baselines_by_id(scope, &[id]).await?.pop();
        let stored = stored.ok_or(Error::NoBaseline { id })?;
        Ok(Some(v1::BaselineUse {
            id: id.0,
            epoch: stored.learned.epoch,
            version: stored.version,
            readings: stored.learned.readings,
            created_at: Some(time::to_wire(stored.created_at)),
        }))
    }

    async fn bundle_use(&self, id: Option<BundleId>) -> Result<Option<v1::BundleUse>, Error> {
        let Some(id) = id else { return Ok(None) };
        let record = self.store.bundle_by_id(id).await?;
        // What the registry took can be read; where it can't be, the rest is explained all the same.
        let manifest = Manifest::from_json(record.manifest_json.as_bytes()).ok();
        let temporal = manifest.and_then(|manifest| manifest.temporal);
        Ok(Some(v1::BundleUse {
            id: id.0,
            digest: record.digest.to_string(),
            window: temporal.map_or(0, |temporal| temporal.window.spectra.into()),
        }))
    }

    async fn set_use(&self, id: Option<ThresholdSetId>) -> Result<Option<v1::ThresholdSetUse>, Error> {
        let Some(id) = id else { return Ok(None) };
        let record = self.store.threshold_set_get(id).await?;
        Ok(Some(v1::ThresholdSetUse {
            version: id.0,
            created_by: record.created_by,
            created_at: Some(time::to_wire(record.created_at)),
        }))
    }

    async fn build_name(&self, id: Option<ScorerBuildId>) -> Result<String, Error> {
        match id {
            Some(id) => Ok(self.store.scorer_build_by_id(id).await?),
            None => Ok(String::new()),
        }
    }

    async fn later(&self, made: &Rederived) -> Result<Vec<v1::LaterScore>, Error> {
        let mut scores = Vec::with_capacity(made.later.len());
        for later in &made.later {
            scores.push(v1::LaterScore {
                bundle_id: later.said.bundle.0,
                residual: later.said.residual,
                derived_residual: later.residual,
                scorer_build: self.build_name(later.said.scorer_build).await?,
            });
        }
        Ok(scores)
    }

    /// The machine's step in which a reading lies, with all that was read in it, by the code of the fold.
    async fn step(&self, scope: &Scope, channel: &Channel, at: Timestamp) -> Result<v1::DerivedStep, Error> {
        let (sensor, length) = (&channel.listing.sensor, self.interval(channel).await?);
        let start = at.floor_to(length);
        let range = (start, start + length);
        let of_machine = self.store.sensors_by_machine(scope, sensor.machine).await?;
        let names: BTreeMap<SensorId, String> = of_machine
            .into_iter()
            .map(|listing| (listing.sensor.id, listing.name.to_string()))
            .collect();
        let hot = self
            .store
            .readings_series(scope, sensor.machine, range, self.config.rows_at_once)
            .await?;
        let mut readings: BTreeMap<ReadingKey, StoredReading> = hot.into_iter().map(|hot| (hot.key, hot)).collect();
        let sensors = names.keys().copied().collect();
        let mut cold = self.archive.readings(scope, sensors, range, Columns::Decisions).await?;
        while let Some(archived) = cold.next().await? {
            readings.extend(archived.into_iter().map(|reading| (reading.stored.key, reading.stored)));
        }
        let mut by_sensor: BTreeMap<SensorId, Vec<JudgedReading>> = BTreeMap::new();
        for reading in readings.into_values() {
            let judged = self.judged(reading).await?.seen();
            by_sensor.entry(judged.key.sensor).or_default().push(judged);
        }
        let whole = level_of(by_sensor.values().flatten(), length);
        let name = |sensor: SensorId| names.get(&sensor).cloned().unwrap_or_default();
        Ok(v1::DerivedStep {
            start: Some(time::to_wire(start)),
            interval_s: length.as_secs_f64(),
            level: whole.map(|whole| whole.level.0),
            sensor: whole.map(|whole| name(whole.sensor)).unwrap_or_default(),
            detector: whole
                .map(|whole| whole.detector.as_str().to_owned())
                .unwrap_or_default(),
            sensors: by_sensor
                .iter()
                .map(|(sensor, readings)| v1::StepSensor {
                    sensor: name(*sensor),
                    readings: readings.len() as u32,
                    level: level_of(readings, length).map(|own| own.level.0),
                })
                .collect(),
        })
    }

    async fn interval(&self, channel: &Channel) -> Result<Duration, Error> {
        Ok(self.store.class_by_id(channel.listing.sensor.class).await?.step)
    }
}

fn level_of<'a>(readings: impl IntoIterator<Item = &'a JudgedReading>, step: Duration) -> Option<StepLevel> {
    steps(readings, step).pop().and_then(|step| step.level)
}

fn decision(verdict: Verdict, level: Option<Level>) -> v1::Decision {
    v1::Decision {
        verdict: verdict.as_str().to_owned(),
        decided_by: decided_by(verdict),
        level: level.map(|level| level.0),
    }
}

/// Every detector there is: its score, that score made again, its lines and its level.
fn detectors(made: &Rederived) -> Vec<v1::DerivedDetector> {
    let Judgement { verdict, members, .. } = &made.judgement;
    let by = match verdict {
        Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => Some(*by),
        Verdict::Unjudged { .. } => None,
    };
    let of = |detector: Detector| {
        let lines = made.set.as_ref().and_then(|set| {
            let mut members = set.members(made.is_degraded()).iter();
            let member = members.find(|member| member.detector == detector)?;
            Some((member.role, member.alert_line as f32, member.page_line as f32))
        });
        let level = members.iter().find(|member| member.detector == detector);
        let lines = lines.or_else(|| level.map(|level| (level.role, Level::ALERT.0, Level::PAGE.0)));
        v1::DerivedDetector {
            detector: detector.as_str().to_owned(),
            score: made.reading.stored.scores.get(detector),
            derived_score: made.again.as_ref().and_then(|again| again.scores.get(detector)),
            role: lines.map(|lines| lines.0.as_str().to_owned()).unwrap_or_default(),
            alert_line: lines.map(|lines| lines.1),
            page_line: lines.map(|lines| lines.2),
            level: level.map(|level| level.level.0),
            decides: by == Some(detector),
        }
    };
    Detector::ALL.into_iter().map(of).collect()
}
