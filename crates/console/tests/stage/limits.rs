use std::pin::Pin;

use tocsin_contracts::recalibrator;
use tocsin_contracts::recalibrator::v1::recalibrator_service_server::RecalibratorService;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Fixture, Fleet, refuse};

const MEMBERS: &str = r#"[
    {"detector":"residual","role":"page","alert_line":0.3127,"page_line":0.5341,"page_line_supported":true},
    {"detector":"overall_level","role":"page","alert_line":2.81,"page_line":3.62,"page_line_supported":true},
    {"detector":"isolation","role":"corroborate","alert_line":0.6112,"page_line":0.6544,"page_line_supported":false},
    {"detector":"pca","role":"evidence","alert_line":14.2,"page_line":22.9,"page_line_supported":true}]"#;

const PROVENANCE: &str = r#""method":"percentiles of healthy scores: alert 99.5, page 99.95","source":{"kind":"held_out"},"window":["2026-10-01T00:00:00Z","2026-11-01T00:00:00Z"],"readings":6100,"machines":14,"sensors":28,"detectors":[{"detector":"residual","scores":6100},{"detector":"overall_level","scores":6100},{"detector":"isolation","scores":1400},{"detector":"pca","scores":6100}]}"#;

/// Number, state and age in seconds of each set.
const SETS: [(i32, &str, u64); 7] = [
    // Waits for a second person.
    (8, "tested", 500),
    (7, "approved", 1_000),
    (6, "proposed", 2_000),
    (5, "tested", 3_000),
    (4, "active", 46_000),
    (3, "retired", 89_000),
    (2, "rejected", 90_000),
];

const TRIAL: &str = r#"{"by":"erik","at":"2026-11-02T08:00:00Z","in_sample":true,"readings":6100,"readings_at_alert":31,"readings_at_page":2,"incidents":3,"pages":1}"#;
const APPROVAL: &str =
    r#"{"by":"olga","at":"2026-11-02T09:00:00Z","reason":"<b>fewer</b> pages for the same failures"}"#;

const BORROWED: &str =
    r#"{"of_class":2,"classes":[{"class":"fan","machines":4},{"class":"mill","machines":1}],"widened":1.5}"#;

fn by_ines(fixture: &Fixture) -> recalibrator::v1::ThresholdSetApproval {
    recalibrator::v1::ThresholdSetApproval {
        by: "ines".into(),
        at: fixture.ago(900),
        reason: "<b>seen</b> the what-if".into(),
    }
}

fn threshold_set(fixture: &Fixture, id: i32, state: &str, age_s: u64) -> recalibrator::v1::ThresholdSet {
    let trial = if matches!(state, "proposed" | "rejected") {
        "null"
    } else {
        TRIAL
    };
    let approval = if matches!(state, "proposed" | "tested" | "rejected") {
        "null"
    } else {
        APPROVAL
    };
    // The lines of the set in force stand higher than those of the others.
    let members = if id == 4 {
        MEMBERS.replace("0.3127", "0.3712")
    } else {
        MEMBERS.to_owned()
    };
    let without: String = MEMBERS.replace("residual", "mahalanobis");
    // What is approved is that of a class with few machines.
    let borrowed = if id == 7 { BORROWED } else { "null" };
    recalibrator::v1::ThresholdSet {
        policy: String::new(),
        asked_by: "erik".into(),
        asked_at: fixture.ago(age_s),
        approvals: if matches!(state, "proposed" | "tested" | "rejected") {
            vec![]
        } else {
            vec![by_ines(fixture)]
        },
        approval_needed_at: if id == 8 { vec!["porto".into()] } else { vec![] },
        approval_needed: if id == 8 {
            "an engineer or admin of porto, other than erik".into()
        } else {
            String::new()
        },
        threshold_set_id: id,
        class: "cnc-spindle".into(),
        bundle_id: 12,
        state: state.into(),
        created_at: fixture.ago(age_s),
        created_by: "erik".into(),
        reason: "a month of healthy readings".into(),
        definition_json: format!(
            r#"{{"members":{members},"without_network":{without},"persistence":{{"k":5,"n":8,"clear_steps":20,"page_clear_level":1.5,"alert_clear_level":0.5}}}}"#
        ),
        provenance_json: format!(r#"{{"trial":{trial},"approval":{approval},"borrowed":{borrowed},{PROVENANCE}"#),
    }
}

fn what_if(fixture: &Fixture, id: i32, asked: &recalibrator::v1::WhatIfRequest) -> recalibrator::v1::WhatIfResponse {
    let persons = asked.persons;
    let period = asked.period.expect("a period");
    let seconds = |at: Option<prost_types::Timestamp>| at.expect("both ends").seconds;
    let hours = (seconds(period.to) - seconds(period.from)) as f64 / 3_600.0;
    let rate = |rate: f64| {
        Some(recalibrator::v1::EventRate {
            rate,
            lower: 0.3 * rate,
            upper: 2.2 * rate,
        })
    };
    let events = |pages: u64, alerts: u64| {
        let rates = |events: u64| recalibrator::v1::EventRates {
            events,
            per_machine_year: rate(events as f64 * 3.7),
            per_site_day: rate(events as f64 / 14.0),
            per_person_week: rate(events as f64 / f64::from(persons)),
        };
        recalibrator::v1::ExpectedEvents {
            readings: 1_814_400,
            machines: 14,
            sites: 2,
            persons: u64::from(persons),
            machine_hours: 14.0 * hours,
            pages: Some(rates(pages)),
            alerts: Some(rates(alerts)),
        }
    };
    let times = |opened_s: u64, paged_s: Option<u64>| {
        Some(recalibrator::v1::IncidentTimes {
            opened_at: fixture.ago(opened_s),
            paged_at: paged_s.and_then(|paged| fixture.ago(paged)),
            closed_at: None,
            detector: "growth".into(),
        })
    };
    let change = |machine: &str, change: &str, shift_s: f64, active, proposed| recalibrator::v1::IncidentChange {
        site: "porto".into(),
        machine: machine.into(),
        change: change.into(),
        shift_s,
        active,
        proposed,
    };
    let coverage = (!asked.bundle.is_empty()).then(|| recalibrator::v1::WhatIfCoverage {
        readings: 1_814_400,
        scored: 907_200,
        sites: vec![],
        note: "907200 of 1814400 readings (50.0 %) could be scored as asked; thin at <b>porto</b> 12.0 %".into(),
    });
    let site = |site: &str, pages_removed: u64| recalibrator::v1::SiteEvents {
        site: site.into(),
        expected: Some(events(3, 9)),
        active_expected: Some(events(2, 6)),
        pages_added: 1,
        pages_removed,
        pages_earlier: 1,
        pages_later: 0,
    };
    let labelled = recalibrator::v1::LabelledOutcome {
        site: "porto".into(),
        machine: "mill-07".into(),
        label: "true_failure".into(),
        mode: "outer_<b>race</b>".into(),
        incident_id: 0,
        from: fixture.ago(110_000),
        to: fixture.ago(70_000),
        change: "earlier".into(),
        shift_s: -10_800.0,
        active: times(90_000, Some(80_000)),
        proposed: times(100_800, Some(90_800)),
    };
    recalibrator::v1::WhatIfResponse {
        coverage,
        sites: vec![site("lisbon", 0), site("porto", 1)],
        labelled: vec![labelled],
        baselines: asked.baselines.clone(),
        active_bundle_id: 12,
        class: "cnc-spindle".into(),
        bundle_id: 12,
        threshold_set_id: id,
        expected: Some(events(3, 9)),
        machines: vec![],
        active_threshold_set_id: 4,
        active_expected: Some(events(2, 6)),
        not_compared_reason: String::new(),
        unchanged_incidents: 5,
        changes: vec![
            change(
                "mill-07",
                "earlier",
                -10_800.0,
                times(90_000, Some(80_000)),
                times(100_800, Some(90_800)),
            ),
            change("mill-03", "gained", 0.0, None, times(40_000, Some(39_000))),
            change("lathe-01", "lost", 0.0, times(200_000, None), None),
        ],
    }
}

#[tonic::async_trait]
impl RecalibratorService for Fixture {
    async fn list_threshold_sets(
        &self,
        _: Request<recalibrator::v1::ListThresholdSetsRequest>,
    ) -> Result<Response<recalibrator::v1::ListThresholdSetsResponse>, Status> {
        let threshold_sets = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            SETS.map(|(id, state, age_s)| threshold_set(self, id, state, age_s))
                .to_vec()
        };
        Ok(Response::new(recalibrator::v1::ListThresholdSetsResponse {
            threshold_sets,
        }))
    }

    type RunWithProgressStream =
        Pin<Box<dyn Stream<Item = Result<recalibrator::v1::RunWithProgressResponse, Status>> + Send>>;

    async fn run_with_progress(
        &self,
        request: Request<recalibrator::v1::RunWithProgressRequest>,
    ) -> Result<Response<Self::RunWithProgressStream>, Status> {
        let Some(Work::WhatIf(asked)) = request.into_inner().work else {
            return Err(Status::unimplemented("no page asks for this"));
        };
        let Some(Limits::ThresholdSetId(id)) = asked.limits else {
            return Err(Status::unimplemented("no page asks for this"));
        };
        if id == 3 {
            return Err(Status::failed_precondition(
                "nothing can be replayed: that bundle scored no reading of that period",
            ));
        }
        let says = |said| Ok(recalibrator::v1::RunWithProgressResponse { said: Some(said) });
        let progress = Said::Progress(recalibrator::v1::Progress::default());
        let answer = Said::WhatIf(Box::new(what_if(self, id, &asked)));
        Ok(Response::new(Box::pin(tokio_stream::iter([
            says(progress),
            says(answer),
        ]))))
    }

    async fn get_threshold_set(
        &self,
        request: Request<recalibrator::v1::GetThresholdSetRequest>,
    ) -> Result<Response<recalibrator::v1::GetThresholdSetResponse>, Status> {
        let id = request.into_inner().threshold_set_id;
        let found = SETS.iter().find(|(known, ..)| *known == id);
        let (id, state, age_s) =
            found.ok_or_else(|| Status::not_found(format!("threshold set {id} does not exist")))?;
        Ok(Response::new(recalibrator::v1::GetThresholdSetResponse {
            threshold_set: Some(threshold_set(self, *id, state, *age_s)),
        }))
    }

    async fn test(
        &self,
        request: Request<recalibrator::v1::TestRequest>,
    ) -> Result<Response<recalibrator::v1::TestResponse>, Status> {
        self.order(format!("test {}", request.into_inner().threshold_set_id));
        Ok(Response::new(recalibrator::v1::TestResponse::default()))
    }

    async fn approve(
        &self,
        request: Request<recalibrator::v1::ApproveRequest>,
    ) -> Result<Response<recalibrator::v1::ApproveResponse>, Status> {
        let asked = request.into_inner();
        if asked.threshold_set_id == 6 {
            return Err(Status::failed_precondition("threshold set 6 is proposed, not tested"));
        }
        self.order(format!("approve {}: {}", asked.threshold_set_id, asked.reason));
        Ok(Response::new(recalibrator::v1::ApproveResponse::default()))
    }

    async fn activate(
        &self,
        request: Request<recalibrator::v1::ActivateRequest>,
    ) -> Result<Response<recalibrator::v1::ActivateResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("activate {}: {}", asked.threshold_set_id, asked.reason));
        Ok(Response::new(recalibrator::v1::ActivateResponse::default()))
    }

    async fn rollback(
        &self,
        request: Request<recalibrator::v1::RollbackRequest>,
    ) -> Result<Response<recalibrator::v1::RollbackResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("limits of {} back: {}", asked.class, asked.reason));
        Ok(Response::new(recalibrator::v1::RollbackResponse::default()))
    }

    refuse! {
        propose, recalibrator::v1::ProposeRequest, recalibrator::v1::ProposeResponse;
        commission, recalibrator::v1::CommissionRequest, recalibrator::v1::CommissionResponse;
        follow, recalibrator::v1::FollowRequest, recalibrator::v1::FollowResponse;
        list_drift, recalibrator::v1::ListDriftRequest, recalibrator::v1::ListDriftResponse;
        accept_plateau, recalibrator::v1::AcceptPlateauRequest, recalibrator::v1::AcceptPlateauResponse;
        rollback_baseline, recalibrator::v1::RollbackBaselineRequest, recalibrator::v1::RollbackBaselineResponse;
        release_baseline, recalibrator::v1::ReleaseBaselineRequest, recalibrator::v1::ReleaseBaselineResponse;
        what_if, recalibrator::v1::WhatIfRequest, recalibrator::v1::WhatIfResponse;
        explain, recalibrator::v1::ExplainRequest, recalibrator::v1::ExplainResponse;
    }
}
