//! Why a sensor is judged as it is: the limits, the bundle and the baseline in force for it, and what they say of its newest
//! reading.

use tocsin_contracts::Malformed;
use tocsin_contracts::recalibrator::v1;
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{BaselineId, Principal, ReadingFlags, Scope, Scores, SensorId, Slug, ThresholdSetId, Verdict};
use tocsin_judge::{Judgement, ThresholdSet};
use tocsin_store::baseline::Baseline;
use tocsin_store::binding::Binding;
use tocsin_store::commissioning::{Commissioning, Progress};
use tocsin_store::fleet::SensorListing;
use tocsin_store::reading::StoredReading;

use crate::stored_set::{definition, provenance};
use crate::{Error, Provenance, Service, wire};

/// Limits with what is known of their origin.
pub(crate) struct Limits {
    pub(crate) id: ThresholdSetId,
    pub(crate) set: ThresholdSet,
    pub(crate) provenance: Provenance,
}

/// A reading, and what the limits that judged it say of its scores.
pub(crate) struct Newest {
    pub(crate) reading: StoredReading,
    /// Derived again; none when no limits were in force then.
    pub(crate) judgement: Option<Judgement>,
}

/// All that judges a sensor.
pub(crate) struct Explanation {
    pub(crate) sensor: SensorListing,
    pub(crate) commissioning: Commissioning,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) binding: Option<Binding>,
    pub(crate) limits: Option<Limits>,
    pub(crate) newest: Option<Newest>,
}

impl Explanation {
    /// The limits want a baseline and the sensor has none: those of the fleet are lent to it, to alert and no more.
    pub(crate) fn borrows(&self) -> bool {
        let wants = |limits: &Limits| limits.set.is_borrowed_by(&Scores::default(), false);
        self.baseline.is_none() && self.limits.as_ref().is_some_and(wants)
    }
}

impl Service {
    pub(crate) async fn do_explain(
        &self,
        by: &Principal,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, Error> {
        let name = |field, text: &str| Slug::parse(field, text).map_err(Malformed::from);
        let site = name("site", &request.site)?;
        let path = SensorPath {
            machine: name("machine", &request.machine)?,
            sensor: name("sensor", &request.sensor)?,
        };
        let (store, scope) = (&self.parts.store, by.scope());
        let sensor = store.sensor_by_name(&scope, &site, &path).await?;
        let id = sensor.sensor.id;
        let commissioning = store.commissioning_by_sensor(&scope, &[id]).await?.remove(&id);
        let commissioning = commissioning.ok_or_else(|| tocsin_store::Error::NotFound {
            what: format!("where sensor {site}/{path} stands"),
        })?;
        let baseline = match commissioning.progress {
            Progress::Commissioned { baseline, .. } => self.baseline_told(&scope, baseline).await?,
            Progress::Commissioning { .. } => None,
        };
        let binding = store.binding_current(sensor.sensor.class).await?;
        let limits = match binding.as_ref().and_then(|binding| binding.threshold_set) {
            Some(set) => Some(self.limits(set).await?),
            None => None,
        };
        let newest = self.newest(&scope, id, limits.as_ref()).await?;
        Ok(wire::explain::response(&Explanation {
            sensor,
            commissioning,
            baseline,
            binding,
            limits,
            newest,
        }))
    }

    /// A baseline. One that followed or was accepted has the scale of the first of its epoch, so its reason goes on with where
    /// that came from.
    async fn baseline_told(&self, scope: &Scope, id: BaselineId) -> Result<Option<Baseline>, Error> {
        let store = &self.parts.store;
        let Some(mut baseline) = store.baselines_by_id(scope, &[id]).await?.pop() else {
            return Ok(None);
        };
        let learned = &mut baseline.learned;
        if baseline.version > 1
            && let Some(first) = store.commissioning_reason(scope, learned.sensor, learned.epoch).await?
        {
            learned.reason = format!("{}; as it was commissioned: {first}", learned.reason);
        }
        Ok(Some(baseline))
    }

    async fn limits(&self, id: ThresholdSetId) -> Result<Limits, Error> {
        let record = self.parts.store.threshold_set_get(id).await?;
        Ok(Limits {
            id,
            set: definition(&record)?,
            provenance: provenance(&record)?,
        })
    }

    /// The newest reading, judged again by the limits it was judged by.
    async fn newest(
        &self,
        scope: &Scope,
        sensor: SensorId,
        in_force: Option<&Limits>,
    ) -> Result<Option<Newest>, Error> {
        let Some(full) = self.parts.store.reading_get(scope, sensor, None).await? else {
            return Ok(None);
        };
        let reading = full.stored;
        let judgement = match (reading.threshold_set, in_force) {
            (None, _) => None,
            (Some(id), Some(limits)) if limits.id == id => Some(judged_again(&limits.set, &reading)),
            (Some(id), _) => Some(judged_again(&self.limits(id).await?.set, &reading)),
        };
        Ok(Some(Newest { reading, judgement }))
    }
}

/// What the set says of a stored reading; one that was not judged then stays so.
fn judged_again(set: &ThresholdSet, reading: &StoredReading) -> Judgement {
    let degraded = reading.flags.contains(ReadingFlags::DEGRADED);
    let judgement = set.judge(&reading.scores, reading.state, degraded);
    match reading.verdict {
        Verdict::Unjudged { reason } => Judgement {
            members: judgement.members,
            ..Judgement::unjudged(reason)
        },
        _ => judgement,
    }
}
