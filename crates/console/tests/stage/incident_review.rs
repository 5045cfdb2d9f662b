//! A made-up review of incident 41, drawn from the same readings as the other pages; a final one is of version 1.

use std::time::Duration;

use tocsin_contracts::incident_review::{
    Against, Attempt, Capture, Change, DetectorLevel, Document, Event, FORMAT, Facts, Gap, Label, Page, PeerPoint,
    Peers, Phase, Reading, Rebuilding, Rebuilt, Sensor, Spectra, State, Text, Window, WorkOrder, WorstPeer,
};
use tocsin_contracts::review::v1::{
    ExportIncidentReviewRequest, ExportIncidentReviewResponse, GetIncidentReviewRequest, GetIncidentReviewResponse,
    IncidentReview,
};
use tocsin_contracts::time::to_wire;
use tocsin_domain::Timestamp;
use tonic::Status;

use super::review::{BINS, EVERY_S, Point, centre, detectors, spectrum};
use super::{Fixture, Fleet, noise};

/// Readings before now at which the incident opened, and was over.
const OPENED: u64 = 34;
const CLOSED: u64 = 6;
/// Readings that are looked at.
const SHOWN: u64 = 150;

impl Fixture {
    pub(super) fn incident_review(
        &self,
        asked: &GetIncidentReviewRequest,
    ) -> Result<GetIncidentReviewResponse, Status> {
        if asked.incident_id != 41 || asked.version > 2 {
            return Err(Status::not_found(format!(
                "no incident {} in your sites",
                asked.incident_id
            )));
        }
        let versions: Vec<IncidentReview> = [self.version(2), self.version(1)].into();
        let review = versions[usize::from(asked.version == 1)].clone();
        Ok(GetIncidentReviewResponse {
            content_json: self.document(&review).to_json(),
            review: Some(review),
            versions,
        })
    }

    pub(super) fn incident_review_export(
        &self,
        asked: &ExportIncidentReviewRequest,
    ) -> Result<Vec<Result<ExportIncidentReviewResponse, Status>>, Status> {
        let review = self.incident_review(&GetIncidentReviewRequest {
            incident_id: asked.incident_id,
            version: asked.version,
        })?;
        let bytes = format!("{} of {}", asked.format, review.content_json.len()).into_bytes();
        let pieces = bytes
            .chunks(5)
            .map(|piece| Ok(ExportIncidentReviewResponse { bytes: piece.to_vec() }));
        Ok(pieces.collect())
    }

    fn version(&self, version: u32) -> IncidentReview {
        let hostile = if self.fleet == Fleet::Hostile {
            "<script>alert(1)</script>"
        } else {
            ""
        };
        let is_final = version == 1;
        IncidentReview {
            incident_id: 41,
            version,
            state: if is_final { "final" } else { "draft" }.into(),
            revision: 3,
            findings: format!(
                "Bearing tone at 2340 Hz with sidebands at shaft speed, growing over three hours.{hostile}\nThe outer ring is pitted; lubrication was low."
            ),
            conclusion: "True failure, caught before damage to the spindle. Shorten the lubrication interval to 400 h."
                .into(),
            correction: if is_final {
                String::new()
            } else {
                "the lubrication interval was missing".into()
            },
            saved_by: "olga".into(),
            saved_at: self.ago(900),
            finalised_by: if is_final { "olga".into() } else { String::new() },
            finalised_at: if is_final { self.ago(800) } else { None },
            digest: if is_final { "5f".repeat(32) } else { String::new() },
        }
    }

    /// So many readings ago.
    fn reading_ago(&self, readings: u64) -> Timestamp {
        // The clock may go on while a document is made.
        self.time_ago(4).floor_to(Duration::from_mins(1)) - Duration::from_secs(EVERY_S * readings)
    }

    fn points(&self) -> Vec<Point> {
        let kept = (0..SHOWN).rev().filter(|i| !(70..82).contains(i));
        kept.map(|i| Point {
            at: self.reading_ago(i),
            i,
            fault: if i < CLOSED {
                0.0
            } else {
                (1.0 - i as f64 / 40.0).max(0.0) * 0.6
            },
        })
        .collect()
    }

    fn phase(&self, at: Timestamp) -> Phase {
        Phase::of(at, self.reading_ago(OPENED), Some(self.reading_ago(CLOSED)))
    }

    fn document(&self, review: &IncidentReview) -> Document {
        let points = self.points();
        let is_final = review.state == "final";
        Document {
            format: FORMAT.into(),
            review: Text {
                version: review.version,
                state: if is_final { State::Final } else { State::Draft },
                findings: review.findings.clone(),
                conclusion: review.conclusion.clone(),
                correction: review.correction.clone(),
                saved_by: Some("olga".into()),
                saved_at: Some(self.time_ago(900)),
                finalised_by: is_final.then(|| "olga".into()),
                finalised_at: is_final.then(|| self.time_ago(800)),
                open_because: String::new(),
            },
            incident: self.facts(),
            window: Window {
                from: self.reading_ago(SHOWN),
                to: self.reading_ago(0) + Duration::from_micros(1),
                readings: 4 * points.len() as u64,
                kept: 2 * points.len() as u64,
                intervals: 600,
            },
            sensors: vec![
                self.sensor("horizontal", 0, &points),
                self.sensor("vertical", 1, &points),
            ],
            changes: vec![Change {
                at: self.reading_ago(120),
                kind: "threshold_set".into(),
                from: Some(3),
                to: Some(4),
                by: "erik".into(),
                reason: "fleet replay of October".into(),
            }],
            gaps: vec![Gap {
                sensor: "horizontal".into(),
                from: self.reading_ago(82),
                to: self.reading_ago(69),
            }],
            journal: self.journal(),
            earlier_steps: 0,
            pages: vec![Page {
                page_key: "incident-41-opened-1".into(),
                created_at: self.reading_ago(OPENED - 2),
                action: "trigger".into(),
                destination: Some("on-call".into()),
                state: "delivered".into(),
                attempts: vec![Attempt {
                    at: self.reading_ago(OPENED - 2) + Duration::from_secs(2),
                    outcome: "delivered".into(),
                    answer: "202 Accepted".into(),
                }],
            }],
            suppressions: Vec::new(),
            labels: vec![Label {
                label: "true_failure".into(),
                mode: "outer_race".into(),
                note: "pitted over 40 degrees".into(),
                at: self.time_ago(1_000),
                by: "olga".into(),
                in_force: true,
            }],
            work_order: Some(WorkOrder {
                reference: "WO-7".into(),
                url: Some("https://cmms.example/wo/7".into()),
                at: self.reading_ago(20),
                by: "olga".into(),
            }),
            spectra: Some(self.spectra(&points)),
            peers: self.peers(),
        }
    }

    fn facts(&self) -> Facts {
        let machine = if self.fleet == Fleet::Hostile {
            "<script>alert(1)</script>"
        } else {
            "mill-07"
        };
        Facts {
            incident_id: 41,
            site: "porto".into(),
            time_zone: "Europe/Lisbon".into(),
            machine: machine.into(),
            class: "cnc-spindle".into(),
            severity: "page".into(),
            state: "normal".into(),
            opened_at: self.reading_ago(OPENED),
            paged_at: Some(self.reading_ago(OPENED - 2)),
            closed_at: Some(self.reading_ago(CLOSED)),
            acknowledged_by: Some("olga".into()),
            acknowledged_at: Some(self.reading_ago(OPENED - 5)),
            deciding_sensor: "horizontal".into(),
            deciding_detector: "residual".into(),
            peak_level: 3.7,
            threshold_set_id: Some(4),
            bundle_id: Some(12),
            replay: false,
            previous_incident_id: Some(29),
        }
    }

    fn sensor(&self, name: &str, number: u64, points: &[Point]) -> Sensor {
        let reading = |point: &Point| {
            let said = detectors(point, number);
            let level = said.iter().map(|one| one.level).fold(0.0, f32::max);
            Reading {
                captured_at: point.at,
                received_at: point.at + Duration::from_millis(180),
                phase: self.phase(point.at),
                verdict: if level >= 2.0 {
                    "page"
                } else if level >= 1.0 {
                    "alert"
                } else {
                    "normal"
                }
                .into(),
                decided_by: "residual".into(),
                level: Some(level),
                threshold_set_id: Some(if point.i > 120 { 3 } else { 4 }),
                bundle_id: Some(12),
                baseline_id: Some(3),
                degraded: false,
                condition: "known".into(),
                detectors: said
                    .into_iter()
                    .map(|one| DetectorLevel {
                        detector: one.detector,
                        score: one.score,
                        level: one.level,
                        alert_line: one.alert_line,
                        page_line: one.page_line,
                        role: one.role,
                    })
                    .collect(),
            }
        };
        Sensor {
            sensor: name.into(),
            readings: points.iter().map(reading).collect(),
        }
    }

    fn spectra(&self, points: &[Point]) -> Spectra {
        let healthy = spectrum(1, 0.0);
        let log = |amplitude: f32| (amplitude / 0.02).ln_1p();
        let capture = |point: &Point| {
            let observed = spectrum(point.i, point.fault);
            let deviation = observed.iter().zip(&healthy).map(|(o, h)| (log(*o) - log(*h)) / 0.25);
            // Some of those long before it are not kept.
            if point.i.is_multiple_of(3) && self.phase(point.at) == Phase::Before {
                return Capture {
                    captured_at: point.at,
                    phase: Phase::Before,
                    level: Some(detectors(point, 0)[0].level),
                    rpm: Some(18_000.0),
                    load: None,
                    observed: Vec::new(),
                    baseline: healthy.clone(),
                    reconstructed: Vec::new(),
                    rebuilt: Some(Rebuilt {
                        amplitude: spectrum(2, 0.0),
                        deviation: deviation.collect(),
                        error: Some(0.31),
                    }),
                    deviation: Vec::new(),
                };
            }
            Capture {
                captured_at: point.at,
                phase: self.phase(point.at),
                level: Some(detectors(point, 0)[0].level),
                rpm: Some(18_000.0),
                load: None,
                deviation: deviation.collect(),
                baseline: healthy.clone(),
                reconstructed: spectrum(2, 0.1 * point.fault),
                observed,
                rebuilt: None,
            }
        };
        let captures: Vec<Capture> = points.iter().map(capture).collect();
        let rebuilt = captures.iter().filter(|capture| capture.rebuilt.is_some()).count() as u32;
        Spectra {
            sensor: "horizontal".into(),
            axis_unit: "Hz".into(),
            amplitude_unit: "g".into(),
            bin_centre: (0..BINS).map(centre).collect(),
            against: Against::Baseline,
            not_kept: rebuilt,
            rebuilding: vec![Rebuilding {
                bundle_id: Some(12),
                model: "dense".into(),
                spectra: rebuilt,
                usual_error: Some(0.27),
                error_space: "standardised_log".into(),
                error_unknown: String::new(),
                not_rebuilt: String::new(),
            }],
            captures,
        }
    }

    fn peers(&self) -> Peers {
        let point = |n: u64| PeerPoint {
            at: self.reading_ago(SHOWN - n * 5 / 2),
            own: Some((0.5 + 6.0 * (1.0 - (SHOWN - n * 5 / 2) as f64 / 40.0).max(0.0) * 0.6) as f32),
            machines: 11,
            low: Some(0.25),
            median: Some((0.45 + 0.1 * noise(5, n)) as f32),
            high: Some((0.8 + 0.3 * noise(6, n)) as f32),
        };
        Peers {
            machines: 11,
            points: (0..60).map(point).collect(),
            worst: vec![WorstPeer {
                machine: "mill-02".into(),
                level: 1.21,
                at: self.reading_ago(40),
            }],
        }
    }

    fn journal(&self) -> Vec<Event> {
        let event = |seq, ago, kind: &str, payload| Event {
            seq,
            at: self.reading_ago(ago),
            kind: kind.into(),
            payload,
        };
        vec![
            event(1, OPENED, "opened", serde_json::json!({ "severity": "alert" })),
            event(
                2,
                OPENED - 1,
                "step",
                serde_json::json!({ "level": 1.6, "detector": "residual" }),
            ),
            event(3, OPENED - 2, "escalated", serde_json::json!({})),
            event(
                4,
                OPENED - 5,
                "acknowledged",
                serde_json::json!({ "by": "olga", "note": "on my way" }),
            ),
            event(
                5,
                20,
                "work_ordered",
                serde_json::json!({ "by": "olga", "reference": "WO-7" }),
            ),
            event(
                6,
                12,
                "commented",
                serde_json::json!({ "by": "olga", "text": "The outer ring is pitted." }),
            ),
            event(7, CLOSED, "cleared", serde_json::json!({})),
        ]
    }

    /// When it was last written, for the answers to a change.
    pub(super) fn written(&self, state: &str, revision: u32) -> IncidentReview {
        IncidentReview {
            incident_id: 41,
            version: 2,
            state: state.into(),
            revision,
            saved_at: Some(to_wire(self.time_ago(0))),
            ..IncidentReview::default()
        }
    }
}
