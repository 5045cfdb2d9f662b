//! Levels over time, and the period they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tocsin_contracts::fleet::v1::ListMachinesRequest;
use tocsin_contracts::review::v1::{GetMachineSeriesRequest, GetMachineSeriesResponse, OverallSeries, SensorSeries};
use tocsin_contracts::time::to_wire;
use tocsin_domain::Timestamp;

use super::{json, millis};
use crate::failure::{Failure, Part};
use crate::session::Session;
use crate::view;

/// Points per sensor: about one per two pixels of a wide screen.
const POINTS: u32 = 800;
/// "All" reaches this far back.
const ALL: Duration = Duration::from_hours(24 * 400);

/// A choice of the period, counted back from the machine's newest reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Range {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "6h")]
    SixHours,
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "all")]
    All,
}

impl Range {
    pub(crate) const CHOICES: [(Self, &'static str); 5] = [
        (Self::Hour, "1 h"),
        (Self::SixHours, "6 h"),
        (Self::Day, "24 h"),
        (Self::Week, "7 d"),
        (Self::All, "All"),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::All => "all",
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::from_hours(1),
            Self::SixHours => Duration::from_hours(6),
            Self::Day => Duration::from_hours(24),
            Self::Week => Duration::from_hours(7 * 24),
            Self::All => ALL,
        }
    }
}

/// What the address says: a range, or `from` and `to` in microseconds since the epoch.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    range: Range,
    from: Option<i64>,
    to: Option<i64>,
}

/// `GET …/series`.
pub(crate) async fn show(
    session: Session,
    Path((site, machine)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let answer = match (asked.from, asked.to) {
        (Some(from), Some(to)) if from < to => {
            let period = (Timestamp::from_micros(from), Timestamp::from_micros(to));
            fetch(&session, &site, &machine, period).await?
        }
        _ => back_from_newest(&session, &site, &machine, asked.range).await?,
    };
    Ok(json(&Series::from(answer)))
}

async fn fetch(
    session: &Session,
    site: &str,
    machine: &str,
    (from, to): (Timestamp, Timestamp),
) -> Result<GetMachineSeriesResponse, Failure> {
    let request = GetMachineSeriesRequest {
        site: site.to_owned(),
        machine: machine.to_owned(),
        from: Some(to_wire(from)),
        to: Some(to_wire(to)),
        points: POINTS,
    };
    let answer = session.review().get_machine_series(request).await;
    Ok(answer.map_err(Part::Review.failed())?.into_inner())
}

async fn back_from_newest(
    session: &Session,
    site: &str,
    machine: &str,
    range: Range,
) -> Result<GetMachineSeriesResponse, Failure> {
    let this = ListMachinesRequest {
        site: site.to_owned(),
        machine: machine.to_owned(),
    };
    let machines = session
        .fleet()
        .list_machines(this)
        .await
        .map_err(Part::Fleet.failed())?
        .into_inner()
        .machines;
    let overview = machines
        .into_iter()
        .find(|overview| overview.site == site && overview.machine == machine)
        .ok_or_else(|| Failure::NotFound(format!("machine {machine} on site {site}")))?;
    let Some(newest) = view::at(overview.newest_reading_at) else {
        return Ok(GetMachineSeriesResponse::default());
    };
    // Up to and with the newest reading.
    let to = newest + Duration::from_millis(1);
    let mut from = to - range.length();
    let mut answer = fetch(session, site, machine, (from, to)).await?;
    // Of a long period with little data at its end, thinning leaves few points: ask again for what there is.
    for _ in 0..2 {
        let Some(oldest) = oldest(&answer) else { break };
        if range != Range::All || to.since(oldest) * 2 >= to.since(from) {
            break;
        }
        // A point stands for an interval that may begin before it.
        let margin = to.since(from) / POINTS;
        from = oldest - margin;
        answer = fetch(session, site, machine, (from, to)).await?;
    }
    Ok(answer)
}

fn oldest(answer: &GetMachineSeriesResponse) -> Option<Timestamp> {
    let points = answer.sensors.iter().flat_map(|sensor| &sensor.points);
    points.filter_map(|point| view::at(point.at)).min()
}

/// Score, level, alert line, page line, role.
type Point = (f32, f32, f32, f32, String);

/// The answer, by columns.
#[derive(Serialize)]
struct Series {
    from: Option<f64>,
    to: Option<f64>,
    sensors: Vec<Columns>,
}

#[derive(Serialize)]
struct Columns {
    sensor: String,
    at: Vec<Option<f64>>,
    level: Vec<Option<f32>>,
    verdict: Vec<String>,
    threshold_set: Vec<i32>,
    degraded: Vec<bool>,
    detectors: Vec<DetectorColumns>,
    /// The overall levels that the sensor declares.
    overall: Vec<OverallColumns>,
}

#[derive(Serialize)]
struct OverallColumns {
    label: String,
    unit: String,
    /// Zone of the newest reading; empty where there is none.
    zone: String,
    at: Vec<Option<f64>>,
    value: Vec<f32>,
}

#[derive(Serialize)]
struct DetectorColumns {
    name: String,
    label: String,
    /// Null where the detector did not judge.
    points: Vec<Option<Point>>,
}

impl From<GetMachineSeriesResponse> for Series {
    fn from(answer: GetMachineSeriesResponse) -> Self {
        Self {
            from: millis(answer.from),
            to: millis(answer.to),
            sensors: answer.sensors.into_iter().map(Columns::from).collect(),
        }
    }
}

impl From<SensorSeries> for Columns {
    fn from(series: SensorSeries) -> Self {
        let points = series.points;
        let names: BTreeSet<&str> = points
            .iter()
            .flat_map(|point| &point.detectors)
            .map(|level| level.detector.as_str())
            .collect();
        let mut detectors: BTreeMap<&str, DetectorColumns> = names
            .into_iter()
            .map(|name| {
                let columns = DetectorColumns {
                    name: name.to_owned(),
                    label: view::detector(name).to_owned(),
                    points: vec![None; points.len()],
                };
                (name, columns)
            })
            .collect();
        for (i, point) in points.iter().enumerate() {
            for level in &point.detectors {
                if let Some(columns) = detectors.get_mut(level.detector.as_str()) {
                    columns.points[i] = Some((
                        level.score,
                        level.level,
                        level.alert_line,
                        level.page_line,
                        level.role.clone(),
                    ));
                }
            }
        }
        let detectors = detectors.into_values().collect();
        Self {
            sensor: series.sensor,
            at: points.iter().map(|point| millis(point.at)).collect(),
            level: points.iter().map(|point| point.level).collect(),
            verdict: points.iter().map(|point| point.verdict.clone()).collect(),
            threshold_set: points.iter().map(|point| point.threshold_set_id).collect(),
            degraded: points.iter().map(|point| point.degraded).collect(),
            detectors,
            overall: series.overall.into_iter().map(OverallColumns::from).collect(),
        }
    }
}

impl From<OverallSeries> for OverallColumns {
    fn from(series: OverallSeries) -> Self {
        let level = series.level.unwrap_or_default();
        Self {
            label: view::overall_level(&level),
            unit: level.unit,
            zone: series.zone,
            at: series.points.iter().map(|point| millis(point.at)).collect(),
            value: series.points.iter().map(|point| point.value).collect(),
        }
    }
}
