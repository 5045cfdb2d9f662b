//! What readings are held against on a side, each baseline read once and few kept at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tocsin_contracts::Malformed;
use tocsin_domain::{BaselineId, Scope, SensorId, SpecId};
use tocsin_models::SensorBaseline;
use tocsin_store::Store;
use tocsin_store::reading::PresentBaselines;

use crate::Error;

/// Baselines kept: of 4096 bins, each takes some 32 KiB and its trend.
const KEPT: usize = 512;

/// Which baseline a reading is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baselines {
    /// The one it was held against.
    Judged,
    /// The one in force now.
    Active,
    /// The first of its epoch.
    Commissioned,
}

impl Baselines {
    /// Reads `judged`, `active` or `commissioned`; `judged` when empty.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        match text {
            "" | "judged" => Ok(Self::Judged),
            "active" => Ok(Self::Active),
            "commissioned" => Ok(Self::Commissioned),
            _ => {
                let reason = format!("{text:?} is not judged, active or commissioned");
                Err(Malformed::new("baselines", reason))
            }
        }
    }

    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Judged => "judged",
            Self::Active => "active",
            Self::Commissioned => "commissioned",
        }
    }

    /// What a reading is held against that was `judged` against this. Only where its epoch is the present one does another
    /// say something of it: a sensor is commissioned anew because it is not what it was.
    pub(super) fn of(self, present: Option<&PresentBaselines>, judged: Option<BaselineId>) -> Option<BaselineId> {
        let judged = judged?;
        let present = present.filter(|present| present.of_epoch.contains(&judged));
        Some(match (self, present) {
            (Self::Active, Some(present)) => present.active,
            (Self::Commissioned, Some(present)) => present.commissioned,
            (Self::Judged, _) | (_, None) => judged,
        })
    }
}

/// What is known of some sensors.
#[derive(Debug)]
pub(super) struct Held {
    store: Store,
    scope: Scope,
    /// Where full scale and the logarithm's turn lie, in canonical units.
    scales: HashMap<SensorId, Scales>,
    present: BTreeMap<SensorId, PresentBaselines>,
    kept: HashMap<BaselineId, Arc<SensorBaseline>>,
}

/// What a spec says of codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scales {
    pub(super) full_scale: f32,
    s0: f32,
}

impl Held {
    /// Reads what some sensors are.
    pub(super) async fn of(store: Store, scope: &Scope, sensors: &[SensorId]) -> Result<Self, Error> {
        let mut of_spec: HashMap<SpecId, Scales> = HashMap::new();
        let mut scales = HashMap::new();
        for (sensor, listing) in store.sensors_by_id(scope, sensors).await? {
            let id = listing.sensor.spec;
            let known = if let Some(known) = of_spec.get(&id) {
                *known
            } else {
                let spec = store.spec_by_id(id).await?.spec;
                let read = Scales {
                    full_scale: spec.canonical_full_scale(),
                    s0: spec.canonical_s0(),
                };
                *of_spec.entry(id).or_insert(read)
            };
            scales.insert(sensor, known);
        }
        Ok(Self {
            present: store.baselines_present(sensors).await?,
            store,
            scope: scope.clone(),
            scales,
            kept: HashMap::new(),
        })
    }

    pub(super) fn scales(&self, sensor: SensorId) -> Option<Scales> {
        self.scales.get(&sensor).copied()
    }

    pub(super) fn present(&self, sensor: SensorId) -> Option<&PresentBaselines> {
        self.present.get(&sensor)
    }

    /// Reads those that are not known yet.
    pub(super) async fn read(&mut self, wanted: &BTreeSet<BaselineId>) -> Result<(), Error> {
        if self.kept.len() + wanted.len() > KEPT {
            self.kept.retain(|id, _| wanted.contains(id));
        }
        let unknown = wanted.iter().filter(|id| !self.kept.contains_key(id)).copied();
        let unknown: Vec<BaselineId> = unknown.collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for stored in self.store.baselines_by_id(&self.scope, &unknown).await? {
            let Some(scales) = self.scales(stored.learned.sensor) else {
                continue;
            };
            let profile = stored.learned.profile;
            let numbers = (profile.median, profile.scale);
            let ready = SensorBaseline::from_stored(stored.id, scales.s0, numbers, profile.trend.as_deref())?;
            self.kept.insert(stored.id, Arc::new(ready));
        }
        Ok(())
    }

    /// One that was read.
    pub(super) fn get(&self, id: BaselineId) -> Option<Arc<SensorBaseline>> {
        self.kept.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_the_present_epoch_are_held_against_what_is_asked_and_others_stay() {
        let present = PresentBaselines {
            active: BaselineId(7),
            commissioned: BaselineId(4),
            of_epoch: [4, 5, 7].map(BaselineId).into(),
        };
        let of =
            |baselines: Baselines, judged: i32| baselines.of(Some(&present), Some(BaselineId(judged))).map(|id| id.0);
        for judged in [4, 5, 7] {
            assert_eq!(of(Baselines::Judged, judged), Some(judged));
            assert_eq!(of(Baselines::Active, judged), Some(7));
            assert_eq!(of(Baselines::Commissioned, judged), Some(4));
        }
        assert_eq!(of(Baselines::Active, 2), Some(2), "of an earlier epoch");
        assert_eq!(Baselines::Active.of(Some(&present), None), None, "in commissioning");
        assert_eq!(Baselines::Active.of(None, Some(BaselineId(2))), Some(BaselineId(2)));
    }

    #[test]
    fn baselines_are_read_by_name_and_other_names_are_refused() {
        for baselines in [Baselines::Judged, Baselines::Active, Baselines::Commissioned] {
            assert_eq!(Baselines::parse(baselines.as_str()), Ok(baselines));
        }
        assert_eq!(Baselines::parse(""), Ok(Baselines::Judged));
        let refused = Baselines::parse("newest").unwrap_err();
        assert_eq!(refused.field, "baselines");
    }
}
