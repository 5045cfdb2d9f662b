use std::pin::Pin;
use std::time::Duration;

use tocsin_contracts::review::v1::review_service_server::ReviewService;
use tocsin_contracts::review::v1::{
    ArchivedSite, BaselineUse, BundleUse, CanonicalReading, Decision, DerivedDetector, DerivedStep, DetectorLevel,
    ExplainVerdictRequest, ExplainVerdictResponse, ExportIncidentReviewRequest, ExportIncidentReviewResponse,
    FinaliseIncidentReviewRequest, FinaliseIncidentReviewResponse, GetAlarmPerformanceRequest,
    GetAlarmPerformanceResponse, GetArchiveRequest, GetArchiveResponse, GetIncidentReviewRequest,
    GetIncidentReviewResponse, GetMachineSeriesRequest, GetMachineSeriesResponse, GetSpectrogramRequest,
    GetSpectrogramResponse, GetVerdictRequest, GetVerdictResponse, OverallLevel, OverallPoint, OverallSeries,
    OverallValue, ReopenIncidentReviewRequest, ReopenIncidentReviewResponse, SaveIncidentReviewRequest,
    SaveIncidentReviewResponse, SensorSeries, SeriesPoint, StepSensor, ThresholdSetUse, VerifyVerdictsRequest,
    VerifyVerdictsResponse, WatchReadingsRequest, WatchReadingsResponse,
};
use tocsin_contracts::time::{from_wire, to_wire};
use tocsin_domain::Timestamp;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Fixture, Fleet, noise};

pub(super) const BINS: usize = 128;
/// A reading every five minutes, for nine days.
pub(super) const EVERY_S: u64 = 300;
const READINGS: u64 = 9 * 24 * 12;

pub(super) fn centre(bin: usize) -> f64 {
    20.0 + 40.0 * bin as f64
}

/// Shaft harmonics, a growing bearing line with sidebands, and noise. `fault` from 0.
pub(super) fn spectrum(seed: u64, fault: f64) -> Vec<f32> {
    (0..BINS)
        .map(|bin| {
            let frequency = centre(bin);
            let line = |at: f64, height: f64| height * (-((frequency - at) / 28.0).powi(2)).exp();
            let shaft: f64 = (1..8).map(|n| line(300.0 * f64::from(n), 0.32 / f64::from(n))).sum();
            let bearing: f64 = [(2_340.0, 1.0), (2_040.0, 0.45), (2_640.0, 0.5), (4_680.0, 0.4)]
                .iter()
                .map(|(at, height)| fault * line(*at, *height))
                .sum();
            let floor = 0.012 * (0.6 + 0.8 * noise(seed, bin as u64)) * (1.0 + 1.5 * (-frequency / 900.0).exp());
            (floor + (shaft + bearing) * (0.85 + 0.3 * noise(seed + 99, bin as u64))) as f32
        })
        .collect()
}

pub(super) fn errors(seed: u64) -> Vec<f32> {
    let (observed, healthy) = (spectrum(seed, 0.4), spectrum(1, 0.0));
    observed
        .iter()
        .zip(&healthy)
        .map(|(o, h)| ((o / 0.02).ln_1p() - (h / 0.02).ln_1p()).powi(2))
        .collect()
}

pub(super) struct Point {
    pub(super) at: Timestamp,
    pub(super) i: u64,
    pub(super) fault: f64,
}

impl Fixture {
    fn readings(&self) -> impl Iterator<Item = Point> {
        let newest = self.time_ago(4);
        (0..READINGS).rev().filter(|i| !(400..430).contains(i)).map(move |i| {
            let at = newest - Duration::from_secs(i * EVERY_S);
            Point {
                at,
                i,
                fault: (1.0 - i as f64 / 40.0).max(0.0) * 0.6,
            }
        })
    }

    fn within(
        &self,
        from: Option<prost_types::Timestamp>,
        to: Option<prost_types::Timestamp>,
    ) -> (Vec<Point>, Timestamp, Timestamp) {
        let from = from
            .and_then(|from| from_wire("from", from).ok())
            .unwrap_or(Timestamp::MIN);
        let to = to.and_then(|to| from_wire("to", to).ok()).unwrap_or(Timestamp::MAX);
        (
            self.readings()
                .filter(|point| from <= point.at && point.at <= to)
                .collect(),
            from,
            to,
        )
    }
}

fn detector(name: &str, role: &str, level: f64, alert: f64) -> DetectorLevel {
    DetectorLevel {
        detector: name.into(),
        score: (alert * (0.3 + 0.7 * level)) as f32,
        level: level as f32,
        alert_line: alert as f32,
        page_line: (1.7 * alert) as f32,
        role: role.into(),
    }
}

pub(super) fn detectors(point: &Point, sensor: u64) -> Vec<DetectorLevel> {
    let base = |seed: u64| 0.25 + 0.55 * noise(seed + sensor, point.i).powi(2);
    let fault = point.fault * if sensor == 0 { 6.0 } else { 3.6 };
    vec![
        detector("residual", "page", base(1) + fault, 0.31),
        detector("overall_level", "page", base(2) + 0.5 * fault, 2.81),
        detector("isolation", "corroborate", base(3) + 0.4 * fault, 0.61),
        detector("pca", "evidence", base(4) + 0.8 * fault, 14.2),
    ]
}

/// What the horizontal sensor declares beside its spectra.
fn declared() -> [OverallLevel; 2] {
    let velocity = OverallLevel {
        name: "velocity_rms".into(),
        quantity: "velocity_rms".into(),
        unit: "mm/s".into(),
        low_hz: Some(10.0),
        high_hz: Some(1_000.0),
    };
    let temperature = OverallLevel {
        name: "temperature".into(),
        quantity: "temperature".into(),
        unit: "°C".into(),
        ..OverallLevel::default()
    };
    [velocity, temperature]
}

/// The second of two levels is missing in every third reading.
fn overall_value(point: &Point, place: usize) -> Option<f32> {
    let noisy = |height: f64| (height * (0.9 + 0.2 * noise(17 + place as u64, point.i))) as f32;
    match place {
        0 => Some(noisy(1.4 + 9.0 * point.fault)),
        _ if point.i.is_multiple_of(3) => None,
        _ => Some(noisy(41.0)),
    }
}

/// The class has zones of velocity alone.
fn zone(place: usize) -> String {
    if place == 0 { "B".into() } else { String::new() }
}

fn overall(points: &[Point]) -> Vec<OverallSeries> {
    let series = |(place, level): (usize, OverallLevel)| OverallSeries {
        level: Some(level),
        points: points
            .iter()
            .filter_map(|point| {
                Some(OverallPoint {
                    at: Some(to_wire(point.at)),
                    value: overall_value(point, place)?,
                })
            })
            .collect(),
        zone: zone(place),
    };
    declared().into_iter().enumerate().map(series).collect()
}

fn series(points: &[Point], sensor: u64, name: &str) -> SensorSeries {
    let at = |point: &Point| {
        let unjudged = point.i > READINGS - 60;
        let detectors = if unjudged { vec![] } else { detectors(point, sensor) };
        let level = detectors.iter().map(|one| one.level).reduce(f32::max);
        let verdict = match level {
            None => "unjudged",
            Some(level) if level >= 2.0 => "page",
            Some(level) if level >= 1.0 => "alert",
            Some(_) => "normal",
        };
        SeriesPoint {
            at: Some(to_wire(point.at)),
            level,
            detectors,
            verdict: verdict.into(),
            threshold_set_id: if unjudged {
                0
            } else if point.i > 150 {
                3
            } else {
                4
            },
            degraded: (90..96).contains(&point.i),
        }
    };
    SensorSeries {
        sensor: name.into(),
        points: points.iter().map(at).collect(),
        overall: if sensor == 0 { overall(points) } else { vec![] },
    }
}

fn explained(point: &Point) -> ExplainVerdictResponse {
    let verdict = if point.fault > 0.2 { "page" } else { "normal" };
    let decision = Decision {
        verdict: verdict.into(),
        decided_by: "residual".into(),
        level: Some(detectors(point, 0)[0].level),
    };
    let derived = |one: DetectorLevel| DerivedDetector {
        decides: one.detector == "residual",
        detector: one.detector,
        score: Some(one.score),
        derived_score: Some(one.score),
        role: one.role,
        alert_line: Some(one.alert_line),
        page_line: Some(one.page_line),
        level: Some(one.level),
    };
    let sensor = |sensor: &str, number| StepSensor {
        sensor: sensor.into(),
        readings: 1,
        level: detectors(point, number).iter().map(|one| one.level).reduce(f32::max),
    };
    let build = "0.1.0+tract-avx512f";
    ExplainVerdictResponse {
        captured_at: Some(to_wire(point.at)),
        received_at: Some(to_wire(point.at + Duration::from_millis(180))),
        reading: Some(CanonicalReading {
            bins: BINS as u32,
            full_scale: 100.0,
            unit: "g".into(),
            content_hash: "5f0c88a1e2b94d37".into(),
            content_hash_found: "5f0c88a1e2b94d37".into(),
            rpm: Some(18_000.0),
            load: Some(0.62),
            ..CanonicalReading::default()
        }),
        condition_cell: "known".into(),
        baseline: Some(BaselineUse {
            id: 3,
            epoch: 2,
            version: 5,
            readings: 412,
            created_at: Some(to_wire(point.at - Duration::from_hours(90))),
        }),
        bundle: Some(BundleUse {
            id: 12,
            digest: "9f".repeat(32),
            window: 0,
        }),
        threshold_set: Some(ThresholdSetUse {
            version: 4,
            created_by: "olga".into(),
            created_at: Some(to_wire(point.at - Duration::from_hours(40))),
        }),
        detector_mask: 0b0100_0111,
        detectors: detectors(point, 0).into_iter().map(derived).collect(),
        step: Some(DerivedStep {
            start: Some(to_wire(point.at)),
            interval_s: 300.0,
            sensors: vec![sensor("horizontal", 0), sensor("vertical", 1)],
            level: sensor("horizontal", 0).level,
            sensor: "horizontal".into(),
            detector: "residual".into(),
        }),
        stored: Some(decision.clone()),
        derived: Some(decision),
        decision_matches: true,
        scores_match: Some(true),
        scorer_build: build.into(),
        deriving_build: build.into(),
        ..ExplainVerdictResponse::default()
    }
}

#[tonic::async_trait]
impl ReviewService for Fixture {
    async fn get_machine_series(
        &self,
        request: Request<GetMachineSeriesRequest>,
    ) -> Result<Response<GetMachineSeriesResponse>, Status> {
        let asked = request.into_inner();
        let (mut points, from, to) = self.within(asked.from, asked.to);
        let stride = points.len().div_ceil(asked.points.max(1) as usize).max(1);
        points = points.into_iter().step_by(stride).collect();
        let sensors = vec![series(&points, 0, "horizontal"), series(&points, 1, "vertical")];
        Ok(Response::new(GetMachineSeriesResponse {
            sensors,
            from: Some(to_wire(from)),
            to: Some(to_wire(to)),
        }))
    }

    async fn get_spectrogram(
        &self,
        request: Request<GetSpectrogramRequest>,
    ) -> Result<Response<GetSpectrogramResponse>, Status> {
        let asked = request.into_inner();
        let (points, _, _) = self.within(asked.from, asked.to);
        let stride = points.len().div_ceil(asked.columns.max(1) as usize).max(1);
        let points: Vec<Point> = points.into_iter().step_by(stride).collect();
        Ok(Response::new(GetSpectrogramResponse {
            at: points.iter().map(|point| to_wire(point.at)).collect(),
            amplitude: points.iter().flat_map(|point| spectrum(point.i, point.fault)).collect(),
            bin_centre: (0..BINS).map(centre).collect(),
            axis_unit: "Hz".into(),
            amplitude_unit: "g".into(),
            ..GetSpectrogramResponse::default()
        }))
    }

    async fn get_verdict(&self, request: Request<GetVerdictRequest>) -> Result<Response<GetVerdictResponse>, Status> {
        let asked = request.into_inner();
        let (points, _, _) = self.within(None, asked.at);
        let point = points.last().ok_or_else(|| Status::not_found("no reading by then"))?;
        let observed = spectrum(point.i, point.fault.max(0.05));
        Ok(Response::new(GetVerdictResponse {
            captured_at: Some(to_wire(point.at)),
            received_at: Some(to_wire(point.at + Duration::from_millis(180))),
            verdict: if point.fault > 0.2 { "page" } else { "normal" }.into(),
            decided_by: "residual".into(),
            detectors: detectors(point, 0),
            threshold_set_id: 4,
            bundle_id: 12,
            baseline_id: 3,
            reconstructed: spectrum(1, 0.0),
            bin_error: errors(point.i),
            observed,
            bin_centre: (0..BINS).map(centre).collect(),
            axis_unit: "Hz".into(),
            amplitude_unit: "g".into(),
            rpm: Some(18_000.0),
            load: Some(0.62),
            degraded: false,
            condition_unseen: false,
            overall: declared()
                .into_iter()
                .enumerate()
                .map(|(place, level)| OverallValue {
                    level: Some(level),
                    value: overall_value(point, place),
                    zone: zone(place),
                })
                .collect(),
            rebuilt: None,
        }))
    }

    async fn get_alarm_performance(
        &self,
        request: Request<GetAlarmPerformanceRequest>,
    ) -> Result<Response<GetAlarmPerformanceResponse>, Status> {
        Ok(Response::new(self.performance(&request.into_inner())))
    }

    async fn explain_verdict(
        &self,
        request: Request<ExplainVerdictRequest>,
    ) -> Result<Response<ExplainVerdictResponse>, Status> {
        let asked = request.into_inner();
        if asked.site != "porto" || self.fleet == Fleet::Empty {
            return Err(Status::not_found("sensor not found"));
        }
        let (points, _, _) = self.within(None, asked.at);
        let point = points.last().ok_or_else(|| Status::not_found("no reading by then"))?;
        Ok(Response::new(explained(point)))
    }

    type VerifyVerdictsStream = tokio_stream::Empty<Result<VerifyVerdictsResponse, Status>>;

    async fn verify_verdicts(
        &self,
        _: Request<VerifyVerdictsRequest>,
    ) -> Result<Response<Self::VerifyVerdictsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn get_incident_review(
        &self,
        request: Request<GetIncidentReviewRequest>,
    ) -> Result<Response<GetIncidentReviewResponse>, Status> {
        Ok(Response::new(self.incident_review(request.get_ref())?))
    }

    async fn save_incident_review(
        &self,
        request: Request<SaveIncidentReviewRequest>,
    ) -> Result<Response<SaveIncidentReviewResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!(
            "save {} {}: {}",
            asked.incident_id, asked.revision, asked.conclusion
        ));
        let review = Some(self.written("draft", asked.revision + 1));
        Ok(Response::new(SaveIncidentReviewResponse { review }))
    }

    async fn finalise_incident_review(
        &self,
        request: Request<FinaliseIncidentReviewRequest>,
    ) -> Result<Response<FinaliseIncidentReviewResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("finalise {} {}", asked.incident_id, asked.revision));
        let review = Some(self.written("final", asked.revision));
        Ok(Response::new(FinaliseIncidentReviewResponse { review }))
    }

    async fn reopen_incident_review(
        &self,
        request: Request<ReopenIncidentReviewRequest>,
    ) -> Result<Response<ReopenIncidentReviewResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("reopen {}: {}", asked.incident_id, asked.reason));
        let review = Some(self.written("draft", 1));
        Ok(Response::new(ReopenIncidentReviewResponse { review }))
    }

    type ExportIncidentReviewStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<ExportIncidentReviewResponse, Status>>>;

    async fn export_incident_review(
        &self,
        request: Request<ExportIncidentReviewRequest>,
    ) -> Result<Response<Self::ExportIncidentReviewStream>, Status> {
        let pieces = self.incident_review_export(request.get_ref())?;
        Ok(Response::new(tokio_stream::iter(pieces)))
    }

    async fn get_archive(&self, _: Request<GetArchiveRequest>) -> Result<Response<GetArchiveResponse>, Status> {
        let site = |site: &str, most_bins| ArchivedSite {
            site: site.into(),
            readings: 120_000,
            spectra: 2_000,
            bytes: 9_000_000,
            least_bins: 64,
            most_bins,
        };
        let sites = match self.fleet {
            Fleet::Empty => Vec::new(),
            _ => vec![site("lisbon", 64), site("porto", 128)],
        };
        Ok(Response::new(GetArchiveResponse { sites }))
    }

    type WatchReadingsStream = Pin<Box<dyn Stream<Item = Result<WatchReadingsResponse, Status>> + Send>>;

    async fn watch_readings(
        &self,
        _: Request<WatchReadingsRequest>,
    ) -> Result<Response<Self::WatchReadingsStream>, Status> {
        let first = tokio_stream::once(Ok(WatchReadingsResponse { change: 100 }));
        let second = tokio_stream::once(Ok(WatchReadingsResponse { change: 101 }));
        Ok(Response::new(Box::pin(
            first.chain(second).chain(tokio_stream::pending()),
        )))
    }
}
