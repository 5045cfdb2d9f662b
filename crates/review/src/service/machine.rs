//! A machine over time: levels and overall levels of each of its sensors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tocsin_contracts::review::v1;
use tocsin_contracts::time;
use tocsin_corpus::archive::Columns;
use tocsin_domain::{ClassId, MachineId, Scope, SensorId, SeverityZones, SpecId, SpectrumSpec, Zone};
use tocsin_store::fleet::SensorListing;
use tocsin_store::reading::OverallPoint;

use super::{Service, count, name};
use crate::levels::Judged;
use crate::period::{Asked, Period, Pieces};
use crate::series::{HighestLevels, Thinned};
use crate::{Error, overall};

const DEFAULT_POINTS: u32 = 600;
const MAX_POINTS: u32 = 5_000;

impl Service {
    /// The specs of sensors, each read once.
    async fn specs(&self, sensors: &[SensorListing]) -> Result<BTreeMap<SpecId, SpectrumSpec>, Error> {
        let mut specs = BTreeMap::new();
        for id in sensors.iter().map(|listing| listing.sensor.spec) {
            if let Entry::Vacant(unread) = specs.entry(id) {
                unread.insert(self.store.spec_by_id(id).await?.spec);
            }
        }
        Ok(specs)
    }

    /// What a class says of its overall levels now.
    pub(super) async fn zones(&self, class: ClassId) -> Result<SeverityZones, Error> {
        let class = self.store.severity_classes(Some(class)).await?.pop();
        Ok(class.map(|class| class.zones).unwrap_or_default())
    }

    /// The zones that each sensor's newest reading stands in; sensors whose spec declares no overall levels, and those of
    /// classes without zones, are missing.
    async fn standing(
        &self,
        scope: &Scope,
        sensors: &[SensorListing],
        specs: &BTreeMap<SpecId, SpectrumSpec>,
    ) -> Result<BTreeMap<SensorId, Vec<Option<Zone>>>, Error> {
        let mut standing = BTreeMap::new();
        let declaring = sensors
            .iter()
            .map(|listing| (&listing.sensor, &specs[&listing.sensor.spec]))
            .filter(|(_, spec)| !spec.overall.is_empty());
        for (sensor, spec) in declaring {
            let zones = self.zones(sensor.class).await?;
            if zones.0.is_empty() {
                continue;
            }
            if let Some(newest) = self.archive.reading(scope, sensor.id, None).await? {
                standing.insert(sensor.id, overall::standing(spec, &newest.overall, &zones));
            }
        }
        Ok(standing)
    }

    /// Every reading of a machine in a period, hot and archived, by its own limits; the archived ones with their overall
    /// levels. A day that is archived meanwhile is seen twice.
    pub(super) async fn each_reading(
        &self,
        scope: &Scope,
        (machine, sensors): (MachineId, &[SensorListing]),
        period: Period,
        mut take: impl FnMut(Judged, &[Option<f32>]) + Send,
    ) -> Result<(), Error> {
        let mut pieces = Pieces::new(period);
        let limit = self.config.rows_at_once;
        while let Some(piece) = pieces.next() {
            let readings = self
                .store
                .readings_series(scope, machine, (piece.from, piece.to), limit)
                .await?;
            if readings.len() >= limit as usize && pieces.shorten(piece) {
                continue;
            }
            for reading in readings {
                take(self.judged(reading).await?, &[]);
            }
            pieces.done(piece);
        }
        // After what is hot: a day that is archived meanwhile is then not missed.
        let of_machine = sensors.iter().map(|listing| listing.sensor.id).collect();
        let ends = (period.from, period.to);
        let mut cold = self.archive.readings(scope, of_machine, ends, Columns::Levels).await?;
        while let Some(readings) = cold.next().await? {
            for reading in readings {
                take(self.judged(reading.stored).await?, &reading.overall);
            }
        }
        Ok(())
    }

    pub(super) async fn series(
        &self,
        scope: &Scope,
        asked: v1::GetMachineSeriesRequest,
    ) -> Result<v1::GetMachineSeriesResponse, Error> {
        let points = count("points", asked.points, DEFAULT_POINTS, MAX_POINTS)?;
        let ends = Asked::parse(asked.from, asked.to)?;
        let machine = self
            .store
            .machine_by_name(scope, &name("site", &asked.site)?, &name("machine", &asked.machine)?)
            .await?;
        let newest = self.store.reading_newest_at(scope, machine.id).await?;
        let sensors = self.store.sensors_by_machine(scope, machine.id).await?;
        let specs = self.specs(&sensors).await?;
        let standing = self.standing(scope, &sensors, &specs).await?;
        let series = |points: &dyn Fn(&SensorListing) -> Vec<v1::SeriesPoint>, overall: &[OverallPoint]| {
            let each = |sensor: &SensorListing| v1::SensorSeries {
                sensor: sensor.name.to_string(),
                points: points(sensor),
                overall: overall::series(
                    sensor.sensor.id,
                    &specs[&sensor.sensor.spec],
                    overall,
                    standing.get(&sensor.sensor.id).map_or(&[], Vec::as_slice),
                ),
            };
            sensors.iter().map(each).collect::<Vec<_>>()
        };
        let Some(period) = ends.complete(newest, self.config.default_period()) else {
            let sensors = series(&|_| Vec::new(), &[]);
            return Ok(v1::GetMachineSeriesResponse {
                sensors,
                from: None,
                to: None,
            });
        };
        let overall = if specs.values().any(|spec| !spec.overall.is_empty()) {
            let ends = (period.from, period.to);
            self.store.overall_series(scope, machine.id, ends, points).await?
        } else {
            Vec::new()
        };
        let mut levels = HighestLevels::new(period, points, overall);
        let mut thinned = Thinned::new(period, points);
        let take = |judged: Judged, overall: &[Option<f32>]| {
            levels.take(judged.reading.key, overall);
            thinned.take(judged);
        };
        self.each_reading(scope, (machine.id, &sensors), period, take).await?;
        let overall = levels.points();
        Ok(v1::GetMachineSeriesResponse {
            sensors: series(&|listing| thinned.points(listing.sensor.id), &overall),
            from: Some(time::to_wire(period.from)),
            to: Some(time::to_wire(period.to)),
        })
    }
}
