use std::pin::Pin;

use tocsin_contracts::registry;
use tocsin_contracts::registry::v1::registry_service_server::RegistryService;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Fixture, Fleet, refuse};

impl Fixture {
    fn bundle(&self, id: i32, state: &str, alias: &str, age_s: u64) -> registry::v1::Bundle {
        let (variant, loss) = if id == 12 { ("conv", 0.0413) } else { ("dense", 0.0467) };
        let files = if id == 12 {
            r#","files":{"report.html":{"bytes":52,"sha256":"c0ffee"}}"#
        } else {
            ""
        };
        let manifest = format!(
            r#"{{"variant":"{variant}","bins":128,"latent":12,"metrics":{{"validation_loss":{loss},"pca_validation_loss":0.0605}},"lineage":{{"rows_by_split":{{"train":48200,"validation":6100}}}}{files}}}"#
        );
        registry::v1::Bundle {
            bundle_id: id,
            digest: format!("{:064x}", 0x9f3a_6c1d_7be0_4421_u64.wrapping_mul(id as u64 + 1)),
            class: "cnc-spindle".into(),
            state: state.into(),
            reason: if state == "rejected" {
                "autoencoder.onnx: output \"target\" is missing".into()
            } else {
                String::new()
            },
            pushed_at: self.ago(age_s),
            pushed_by: "erik".into(),
            manifest_json: manifest,
            alias: alias.into(),
        }
    }

    fn binding(&self, version: i64, champion: i32, set: i32, age_s: u64, reason: &str) -> registry::v1::Binding {
        registry::v1::Binding {
            class: "cnc-spindle".into(),
            version,
            champion_bundle_id: champion,
            challenger_bundle_id: if version == 4 { 11 } else { 0 },
            threshold_set_id: set,
            changed_at: self.ago(age_s),
            changed_by: "erik".into(),
            reason: reason.into(),
            ..registry::v1::Binding::default()
        }
    }
}

#[tonic::async_trait]
impl RegistryService for Fixture {
    async fn list_bundles(
        &self,
        _: Request<registry::v1::ListBundlesRequest>,
    ) -> Result<Response<registry::v1::ListBundlesResponse>, Status> {
        let bundles = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            vec![
                self.bundle(13, "rejected", "", 20_000),
                self.bundle(12, "verified", "champion", 90_000),
                self.bundle(11, "verified", "challenger", 800_000),
            ]
        };
        Ok(Response::new(registry::v1::ListBundlesResponse { bundles }))
    }

    async fn list_bindings(
        &self,
        _: Request<registry::v1::ListBindingsRequest>,
    ) -> Result<Response<registry::v1::ListBindingsResponse>, Status> {
        let bindings = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            vec![
                self.binding(4, 12, 4, 45_000, "new limits after a month of readings"),
                self.binding(3, 12, 3, 88_000, ""),
                self.binding(2, 11, 2, 700_000, "first model"),
            ]
        };
        Ok(Response::new(registry::v1::ListBindingsResponse { bindings }))
    }

    async fn promote(
        &self,
        request: Request<registry::v1::PromoteRequest>,
    ) -> Result<Response<registry::v1::PromoteResponse>, Status> {
        let asked = request.into_inner();
        if asked.bundle == "13" {
            return Err(Status::failed_precondition("bundle #13: rejected"));
        }
        self.order(format!("promote {}: {}", asked.bundle, asked.reason));
        Ok(Response::new(registry::v1::PromoteResponse::default()))
    }

    async fn set_challenger(
        &self,
        request: Request<registry::v1::SetChallengerRequest>,
    ) -> Result<Response<registry::v1::SetChallengerResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("challenger of {}: {:?}", asked.class, asked.bundle));
        Ok(Response::new(registry::v1::SetChallengerResponse::default()))
    }

    async fn rollback(
        &self,
        request: Request<registry::v1::RollbackRequest>,
    ) -> Result<Response<registry::v1::RollbackResponse>, Status> {
        let asked = request.into_inner();
        self.order(format!("roll {} back: {}", asked.class, asked.reason));
        Ok(Response::new(registry::v1::RollbackResponse::default()))
    }

    async fn push_bundle(
        &self,
        _: Request<tonic::Streaming<registry::v1::PushBundleRequest>>,
    ) -> Result<Response<registry::v1::PushBundleResponse>, Status> {
        Err(Status::unimplemented("no page calls this"))
    }

    type DownloadBundleStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<registry::v1::DownloadBundleResponse, Status>>>;

    async fn download_bundle(
        &self,
        request: Request<registry::v1::DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        let asked = request.into_inner();
        if asked.file != "report.html" {
            return Err(Status::unimplemented("no page asks for another file"));
        }
        if asked.bundle != "12" {
            return Err(Status::not_found("the bundle has no report.html"));
        }
        let pieces = [b"<!DOCTYPE html><title>The report".as_slice(), b" of bundle 12</title>"];
        let pieces = pieces.map(|piece| Ok(registry::v1::DownloadBundleResponse { bytes: piece.to_vec() }));
        Ok(Response::new(tokio_stream::iter(
            pieces.into_iter().collect::<Vec<_>>(),
        )))
    }

    type WatchBindingsStream = Pin<Box<dyn Stream<Item = Result<registry::v1::WatchBindingsResponse, Status>> + Send>>;

    async fn watch_bindings(
        &self,
        _: Request<registry::v1::WatchBindingsRequest>,
    ) -> Result<Response<Self::WatchBindingsStream>, Status> {
        Err(Status::unimplemented("no page calls this"))
    }

    refuse! {
        get_bundle, registry::v1::GetBundleRequest, registry::v1::GetBundleResponse;
    }
}
