//! Stories through the real stack, in process, with a bundle made by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tocsin_contracts::registry::v1::registry_service_server::{RegistryService, RegistryServiceServer};
use tocsin_contracts::registry::v1::{self as registry, Binding, WatchBindingsRequest, WatchBindingsResponse};
use tocsin_contracts::scorer::v1::scorer_service_client::ScorerServiceClient;
use tocsin_contracts::scorer::v1::{ReconstructRequest, ScoreRequest, ScoreResponse};
use tocsin_domain::{BundleDigest, Codec, Principal, SiteId, TokenId, access};
use tocsin_models::{BundleStore, NetworkError, Scored, Session};
use tocsin_transport::auth::{Auth, Token, Verifier};
use tocsin_transport::{Channel, Replicas, Server, retry, server};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::fixture::{self, BINS, FULL_SCALE, LATENT};
use crate::queue::PIECE_ROWS;
use crate::{Config, Scorer, build, build_with};

const SERVICE: &str = "service";
const GATEWAY: &str = "gateway";

fn store() -> BundleStore {
    BundleStore::open("memory://").expect("memory is always there")
}

fn auth() -> Auth<Principal> {
    Auth::new(Verifier::new(|credential| {
        let principal = if credential.token.expose() == SERVICE {
            Principal::Service
        } else {
            Principal::Gateway(access::Gateway {
                site: SiteId(1),
                token: TokenId(1),
                name: "gw".to_owned(),
                may_replay: true,
                may_send_historical: true,
                auto_registration: None,
            })
        };
        std::future::ready(Ok(principal))
    }))
}

fn channel(server: Server, token: &str) -> Channel {
    let stack = server.assemble().expect("a whole server");
    Channel::in_process(stack).with_token(&Token::parse(token).expect("a token"))
}

fn client(scorer: &Scorer, token: &str) -> ScorerServiceClient<Channel> {
    let server = Server::new(server::Config::default(), auth()).service(scorer.service(16 << 20));
    ScorerServiceClient::new(channel(server, token))
}

/// Row `i` has code `10 + i % 200` in every bin but its first, which is 200.
fn codes(rows: usize) -> Vec<u8> {
    let row = |i: usize| std::iter::once(200).chain(std::iter::repeat_n(10 + (i % 200) as u8, BINS - 1));
    (0..rows).flat_map(row).collect()
}

fn request(digest: BundleDigest, rows: usize, bin_error_rows: &[u32]) -> ScoreRequest {
    ScoreRequest {
        bundle_digest: digest.0.to_vec(),
        codes: codes(rows),
        bins: BINS as u32,
        full_scale: vec![FULL_SCALE],
        bin_error_rows: bin_error_rows.to_vec(),
        window: 0,
    }
}

/// What the fixture's network says of row `i`.
fn squared_errors(i: usize, factor: f32) -> Vec<f32> {
    let linear = Codec::with_full_scale(FULL_SCALE).decode(&codes(i + 1)[i * BINS..]);
    linear.iter().map(|s| (s - factor * s).powi(2)).collect()
}

fn check(answer: &ScoreResponse, rows: usize, bin_error_rows: &[u32], factor: f32) {
    assert_eq!(answer.error.len(), rows);
    for (i, error) in answer.error.iter().enumerate() {
        let expected = squared_errors(i, factor).iter().sum::<f32>() / BINS as f32;
        assert!(
            (error / expected - 1.0).abs() < 1e-4,
            "row {i}: {error} instead of {expected}"
        );
    }
    assert_eq!(
        (answer.latent_size as usize, answer.latent.len()),
        (LATENT, rows * LATENT * 2)
    );
    assert_eq!(answer.bin_error.len(), bin_error_rows.len() * BINS);
    for (row, bins) in bin_error_rows.iter().zip(answer.bin_error.chunks(BINS)) {
        for (error, expected) in bins.iter().zip(squared_errors(*row as usize, factor)) {
            assert!(
                (error / expected - 1.0).abs() < 1e-4,
                "row {row}: {error} instead of {expected}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_larger_than_a_piece_is_answered_in_its_order() {
    let store = store();
    let digest = fixture::put(&store, 0.5).await;
    let mut client = client(&build(&Config::default(), store).expect("threads"), SERVICE);
    let (rows, asked) = (2 * PIECE_ROWS + 7, [260, 0, 128, 3, 127, 260]);
    let answer = client
        .score(request(digest, rows, &asked))
        .await
        .expect("scored")
        .into_inner();
    check(&answer, rows, &asked, 0.5);
    assert!(
        answer.scorer_build.starts_with(env!("CARGO_PKG_VERSION")),
        "{}",
        answer.scorer_build
    );
    let empty = client
        .score(request(digest, 0, &[]))
        .await
        .expect("nothing to do")
        .into_inner();
    check(&empty, 0, &[], 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_scored_by_the_temporal_network_of_a_bundle_and_by_no_other() {
    let store = store();
    let (both, alone) = (
        fixture::put_temporal(&store, 0.5).await,
        fixture::put(&store, 0.5).await,
    );
    let mut client = client(&build(&Config::default(), store).expect("threads"), SERVICE);
    let windows = |digest, window: u32| ScoreRequest {
        window,
        codes: codes(12),
        ..request(digest, 0, &[1])
    };
    let answer = client.score(windows(both, 3)).await.expect("scored").into_inner();
    assert_eq!((answer.error.len(), answer.bin_error.len()), (4, BINS));
    for (i, error) in answer.error.iter().enumerate() {
        // The fixture's temporal network rebuilds the last spectrum of a window as nothing.
        let expected = squared_errors(3 * i + 2, 0.0).iter().sum::<f32>() / BINS as f32;
        assert!(
            (error / expected - 1.0).abs() < 1e-4,
            "window {i}: {error} instead of {expected}"
        );
    }
    check(
        &client.score(request(both, 5, &[])).await.expect("scored").into_inner(),
        5,
        &[],
        0.5,
    );
    for (digest, window) in [(both, 4), (alone, 3)] {
        let status = client.score(windows(digest, window)).await.expect_err("another window");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("window"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_two_bundles_each_get_their_own_scores() {
    let store = store();
    let (one, other) = (fixture::put(&store, 0.5).await, fixture::put(&store, 0.25).await);
    let config = Config {
        threads: std::num::NonZero::new(2),
        ..Config::default()
    };
    let client = client(&build(&config, store).expect("threads"), SERVICE);
    let calls = (0..200).map(|i| {
        let (mut client, rows) = (client.clone(), 1 + i % 40);
        let (digest, factor) = if i % 3 == 0 { (one, 0.5) } else { (other, 0.25) };
        tokio::spawn(async move {
            let asked = [(rows - 1) as u32];
            let answer = client
                .score(request(digest, rows, &asked))
                .await
                .expect("scored")
                .into_inner();
            check(&answer, rows, &asked, factor);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("its own scores");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_code_and_says_what_is_wrong() {
    let store = store();
    let digest = fixture::put(&store, 0.5).await;
    let scorer = build(&Config::default(), store).expect("threads");
    let mut client = client(&scorer, SERVICE);

    let unknown = BundleDigest([9; 32]);
    let status = client
        .score(request(unknown, 1, &[]))
        .await
        .expect_err("no such bundle");
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains(&unknown.to_string()), "{status}");

    let wider = ScoreRequest {
        bins: 64,
        codes: vec![1; 64],
        ..request(digest, 1, &[])
    };
    let status = client.score(wider).await.expect_err("the bundle has 32 bins");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("bins: 64 given"), "{status}");

    let status = self::client(&scorer, GATEWAY)
        .score(request(digest, 1, &[]))
        .await
        .expect_err("not for gateways");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "gateway:gw may not score");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconstruction_is_the_decoded_latent_with_the_error_of_each_bin() {
    let store = store();
    let digest = fixture::put(&store, 0.5).await;
    let mut client = client(&build(&Config::default(), store).expect("threads"), SERVICE);
    let ScoreRequest {
        bundle_digest,
        codes,
        bins,
        full_scale,
        ..
    } = request(digest, 2, &[]);
    let request = ReconstructRequest {
        bundle_digest,
        codes,
        bins,
        full_scale,
    };
    let answer = client.reconstruct(request).await.expect("reconstructed").into_inner();
    let linear = Codec::with_full_scale(FULL_SCALE).decode(&self::codes(2));
    for (i, value) in answer.reconstruction.iter().enumerate() {
        let expected = if i % BINS < LATENT { linear[i] } else { 0.0 };
        assert!(
            (value - expected).abs() <= expected * 1e-3,
            "{i}: {value} instead of {expected}"
        );
    }
    let expected = [squared_errors(0, 0.5), squared_errors(1, 0.5)].concat();
    assert_eq!(answer.bin_error.len(), expected.len());
    assert!(
        answer
            .bin_error
            .iter()
            .zip(&expected)
            .all(|(a, b)| (a / b - 1.0).abs() < 1e-4)
    );
}

/// Panics on a batch whose first row has more than eight values over 9 (only a row of code 255 has).
fn panics_on_full_scale(session: &mut Session, rows: &[f32], asked: &[usize]) -> Result<Scored, NetworkError> {
    assert!(rows.iter().filter(|s| **s > 9.9).count() < 8, "full scale everywhere");
    session.run(rows, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_model_costs_its_own_caller_an_internal_and_nobody_else_anything() {
    let store = store();
    let digest = fixture::put(&store, 0.5).await;
    let config = Config {
        threads: std::num::NonZero::new(1),
        ..Config::default()
    };
    let scorer = build_with(&config, store, panics_on_full_scale).expect("threads");
    let client = client(&scorer, SERVICE);
    let calls: Vec<_> = (0..30)
        .map(|i| {
            let (mut client, bad) = (client.clone(), i % 10 == 5);
            let mut request = request(digest, 3, &[]);
            if bad {
                request.codes.fill(255);
            }
            tokio::spawn(async move { (bad, client.score(request).await) })
        })
        .collect();
    for call in calls {
        let (bad, answer) = call.await.expect("the caller lives");
        if bad {
            let status = answer.expect_err("the model panicked");
            assert_eq!(status.code(), Code::Internal);
            assert!(status.message().contains("full scale everywhere"), "{status}");
        } else {
            check(&answer.expect("scored").into_inner(), 3, &[], 0.5);
        }
    }
}

static HELD: AtomicBool = AtomicBool::new(true);

fn waits_until_let_go(session: &mut Session, rows: &[f32], asked: &[usize]) -> Result<Scored, NetworkError> {
    while HELD.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    session.run(rows, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_with_a_hint_and_keeps_what_it_took() {
    let store = store();
    let digest = fixture::put(&store, 0.5).await;
    let config = Config {
        threads: std::num::NonZero::new(1),
        waiting_rows: std::num::NonZero::new(8).expect("8 is not 0"),
        ..Config::default()
    };
    let scorer = build_with(&config, store, waits_until_let_go).expect("threads");
    let client = client(&scorer, SERVICE);
    let send = |rows| {
        let mut client = client.clone();
        tokio::spawn(async move { client.score(request(digest, rows, &[])).await })
    };
    // One is being scored, one waits and fills the queue; the rest are refused as the last one is. The first fills it for
    // a moment too, before a worker takes it: only a queue that stays full is.
    let (mut sent, mut full) = (Vec::new(), 0);
    while full < 20 {
        if scorer.workers.queue.waiting() < 8 {
            full = 0;
            sent.push(send(8));
        } else {
            full += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let status = client
        .clone()
        .score(request(digest, 1, &[]))
        .await
        .expect_err("the queue is full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(retry::after(&status), Some(Duration::from_millis(50)));
    HELD.store(false, Ordering::SeqCst);
    let mut scored = 0;
    for call in sent {
        scored += usize::from(call.await.expect("no panic").is_ok());
    }
    assert!(scored >= 2, "{scored} of those that were taken");
}

/// A registry whose watchers hear one message.
struct Registry(WatchBindingsResponse);

/// Every method but the watched one answers UNIMPLEMENTED.
macro_rules! registry {
    ($($method:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl RegistryService for Registry {
            type WatchBindingsStream = ReceiverStream<Result<WatchBindingsResponse, Status>>;
            type DownloadBundleStream = ReceiverStream<Result<registry::DownloadBundleResponse, Status>>;

            async fn watch_bindings(
                &self,
                _: Request<WatchBindingsRequest>,
            ) -> Result<Response<Self::WatchBindingsStream>, Status> {
                let (tx, rx) = tokio::sync::mpsc::channel(1);
                tx.send(Ok(self.0.clone())).await.expect("the receiver is here");
                tokio::spawn(async move { tx.closed().await });
                Ok(Response::new(ReceiverStream::new(rx)))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("not in this story"))
            })*
        }
    };
}

registry! {
    push_bundle(Streaming<registry::PushBundleRequest>) -> registry::PushBundleResponse;
    list_bundles(registry::ListBundlesRequest) -> registry::ListBundlesResponse;
    get_bundle(registry::GetBundleRequest) -> registry::GetBundleResponse;
    download_bundle(registry::DownloadBundleRequest) -> Self::DownloadBundleStream;
    promote(registry::PromoteRequest) -> registry::PromoteResponse;
    set_challenger(registry::SetChallengerRequest) -> registry::SetChallengerResponse;
    rollback(registry::RollbackRequest) -> registry::RollbackResponse;
    list_bindings(registry::ListBindingsRequest) -> registry::ListBindingsResponse;
}

#[tokio::test(flavor = "multi_thread")]
async fn champion_and_challenger_are_loaded_before_anybody_asks_and_unused_ones_go() {
    let store = store();
    let (champion, challenger) = (fixture::put(&store, 0.5).await, fixture::put(&store, 0.25).await);
    let old = fixture::put(&store, 0.75).await;
    let config = Config {
        keep_unused_ms: std::num::NonZero::new(20).expect("20 is not 0"),
        ..Config::default()
    };
    let scorer = build(&config, store).expect("threads");
    let mut client = client(&scorer, SERVICE);
    client
        .score(request(old, 1, &[]))
        .await
        .expect("any bundle can be asked for");

    let binding = Binding {
        champion_digest: champion.to_string(),
        challenger_digest: challenger.to_string(),
        ..Binding::default()
    };
    let unbound = Binding::default();
    let message = WatchBindingsResponse {
        bindings: vec![binding, unbound],
    };
    let registry =
        Server::new(server::Config::default(), auth()).service(RegistryServiceServer::new(Registry(message)));
    let replicas = Replicas::new([channel(registry, SERVICE)]).expect("there is one");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(scorer.clone().run(replicas, shutdown.clone()));
    while scorer.catalogue.loaded() != [champion, challenger].into() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Gone is not lost: whoever asks again gets it loaded again.
    let answer = client
        .score(request(old, 1, &[]))
        .await
        .expect("loaded again")
        .into_inner();
    check(&answer, 1, &[], 0.75);
    shutdown.cancel();
    running.await.expect("it ends when told");
}
