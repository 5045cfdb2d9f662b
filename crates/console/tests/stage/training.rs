use tocsin_contracts::training::v1::training_service_server::TrainingService;
use tocsin_contracts::training::v1::{
    CompareModelsRequest, CompareModelsResponse, DetectorComparison, ListTrainingJobsRequest, ListTrainingJobsResponse,
    Percentile, RequestTrainingRequest, RequestTrainingResponse, ScoreSummary, TrainingJob,
};
use tonic::{Request, Response, Status};

use super::{Fixture, Fleet};

fn summary(scale: f64, healthy: u32, incident: u32) -> ScoreSummary {
    let percentile = |value: f64, spread: f64| {
        Some(Percentile {
            value,
            lower: Some(value - spread),
            upper: Some(value + spread),
        })
    };
    ScoreSummary {
        median: percentile(0.21 * scale, 0.004),
        p99_5: percentile(0.47 * scale, 0.02),
        alert_line: Some(0.46 * scale),
        page_line: None,
        healthy_above_alert: healthy,
        healthy_above_page: healthy / 10,
        incident_above_alert: incident,
        incident_above_page: incident / 2,
    }
}

#[tonic::async_trait]
impl TrainingService for Fixture {
    async fn request_training(
        &self,
        request: Request<RequestTrainingRequest>,
    ) -> Result<Response<RequestTrainingResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("retrain {}: {}", asked.class, asked.reason));
        Ok(Response::new(RequestTrainingResponse::default()))
    }

    async fn list_training_jobs(
        &self,
        request: Request<ListTrainingJobsRequest>,
    ) -> Result<Response<ListTrainingJobsResponse>, Status> {
        let job = |id: i32, state: &str| TrainingJob {
            training_job_id: id,
            class: request.get_ref().class.clone(),
            reason: "the class moved by 2.4 dB".into(),
            requested_by: "recalibrator".into(),
            requested_at: self.ago(7_200),
            since: self.ago(2_592_000),
            until: self.ago(7_200),
            state: state.into(),
            attempts: 2,
            progress: 0.62,
            ..TrainingJob::default()
        };
        let failed = TrainingJob {
            error: "training_job.since: only 40 healthy rows".into(),
            ..job(1, "failed")
        };
        let jobs = match self.fleet {
            Fleet::Empty => vec![],
            _ => vec![job(2, "running"), failed],
        };
        Ok(Response::new(ListTrainingJobsResponse { jobs }))
    }

    async fn compare_models(
        &self,
        _: Request<CompareModelsRequest>,
    ) -> Result<Response<CompareModelsResponse>, Status> {
        Ok(Response::new(CompareModelsResponse {
            champion_bundle_id: 12,
            challenger_bundle_id: 11,
            healthy: 8_120,
            around_incidents: 264,
            first_at: self.ago(604_800),
            last_at: self.ago(30),
            insufficient: String::new(),
            detectors: vec![DetectorComparison {
                detector: "residual".into(),
                champion: Some(summary(1.0, 44, 120)),
                challenger: Some(summary(1.3, 61, 118)),
                rank_correlation: Some(0.914),
            }],
        }))
    }
}
