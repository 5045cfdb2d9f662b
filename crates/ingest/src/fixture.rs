//! A site with a few machines that needs no database, and an ensemble that does what a test tells it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tocsin_contracts::ensemble::ReadingOutcome;
use tocsin_contracts::ensemble::v1::ensemble_service_server::{EnsembleService, EnsembleServiceServer};
use tocsin_contracts::ensemble::v1::{AssessRequest, AssessResponse};
use tocsin_contracts::ingest::v1;
use tocsin_contracts::time::to_wire;
use tocsin_domain::access::Gateway;
use tocsin_domain::fleet::{Sensor, SensorPath, Site};
use tocsin_domain::overall::OverallQuantity;
use tocsin_domain::{
    ClassId, Clock, Detector, MachineId, OverallSpec, Principal, SensorId, SiteId, Slug, SpecId, SpectrumSpec,
    Timestamp, TokenId, Unit, Verdict,
};
use tocsin_store::{PgPool, Store};
use tocsin_transport::auth::{Auth, Denied, Token, Verifier};
use tocsin_transport::{Channel, Replicas, Server, auth, server};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::directory::{Directory, SensorRef, SiteDirectory, SpecRef, Unknown};
use crate::intake::Intake;
use crate::{Config, Ingest};

/// Bins of the site's sensors.
pub(crate) const BINS: usize = 32;
/// Machines `m0` to `m9`, each with sensors `s0` to `s3`.
const MACHINES: i32 = 10;
const SENSORS: i32 = 4;

/// 2026-03-01, about.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

pub(crate) fn gateway() -> Gateway {
    Gateway {
        site: SiteId(1),
        token: TokenId(1),
        name: "north".to_owned(),
        may_replay: false,
        may_send_historical: false,
        auto_registration: None,
    }
}

/// What its sensors declare: `velocity_rms` in mm/s and `temperature` in °C beside the spectrum.
fn spec() -> SpectrumSpec {
    let level = |name: &str, quantity, unit| OverallSpec {
        name: Slug::parse("level", name).expect("a name"),
        quantity,
        unit,
        band: None,
    };
    SpectrumSpec {
        overall: vec![
            level("velocity_rms", OverallQuantity::VelocityRms, Unit::MillimetrePerSecond),
            level("temperature", OverallQuantity::Temperature, Unit::DegreeCelsius),
        ],
        ..SpectrumSpec::corpus_default(BINS as u16)
    }
}

/// Its bounds are a day back and a minute ahead. `m0/gone` is known not to be there.
pub(crate) fn site() -> SiteDirectory {
    let site = SiteDirectory::new(Site {
        id: SiteId(1),
        name: Slug::parse("site", "plant").expect("a name"),
        title: "Plant".to_owned(),
        time_zone: "UTC".to_owned(),
        oldest: Duration::from_hours(24),
        furthest: Duration::from_mins(1),
        auto_register_cap: 0,
        longest_shelf: Site::DEFAULT_LONGEST_SHELF,
        second_approval: false,
    });
    let spec = Arc::new(SpecRef::new(spec()));
    for machine in 0..MACHINES {
        for sensor in 0..SENSORS {
            let numbers = Sensor {
                id: SensorId(machine * SENSORS + sensor),
                site: SiteId(1),
                machine: MachineId(machine),
                class: ClassId(1),
                spec: SpecId(1),
            };
            let spec = Arc::clone(&spec);
            site.insert(
                path(&format!("m{machine}/s{sensor}")),
                SensorRef { sensor: numbers, spec },
            );
        }
    }
    let later = tokio::time::Instant::now() + Duration::from_hours(1);
    site.forget(TokenId(1), path("m0/gone"), later, Unknown::Undeclared);
    site
}

pub(crate) fn path(text: &str) -> SensorPath {
    SensorPath::parse(text).expect("machine/sensor")
}

/// A good reading, `ago` before now.
pub(crate) fn reading(sensor: &str, ago: Duration) -> v1::Reading {
    v1::Reading {
        sensor: sensor.to_owned(),
        captured_at: Some(to_wire(now() - ago)),
        bins: vec![0.5; BINS],
        ..v1::Reading::default()
    }
}

/// `count` good readings of a machine, a second apart.
pub(crate) fn batch(batch_id: u64, machine: i32, count: u64) -> v1::PublishRequest {
    let sensor = format!("m{machine}/s0");
    let at = |i| reading(&sensor, Duration::from_secs(3_600 + batch_id * 60 - i));
    let readings = (0..count).map(at).collect();
    message(v1::publish_request::Message::Batch(v1::Batch { batch_id, readings }))
}

pub(crate) fn message(message: v1::publish_request::Message) -> v1::PublishRequest {
    v1::PublishRequest { message: Some(message) }
}

/// An ensemble by whose word a test goes. A reading's rpm says what becomes of it: 1 duplicate, 2 conflict, 3 not stored,
/// else stored and normal.
#[derive(Debug, Clone)]
pub(crate) struct FakeEnsemble(Arc<Script>);

#[derive(Debug)]
struct Script {
    /// Every call fails with this, when set.
    fails: Mutex<Option<Status>>,
    /// Calls with readings of these machines wait.
    held: watch::Sender<HashSet<i32>>,
    /// Machines with a call under way, and whether one ever had two.
    busy: Mutex<(HashSet<i32>, bool)>,
    /// Calls that came.
    calls: watch::Sender<Vec<AssessRequest>>,
}

impl FakeEnsemble {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Script {
            fails: Mutex::default(),
            held: watch::Sender::default(),
            busy: Mutex::default(),
            calls: watch::Sender::default(),
        }))
    }

    pub(crate) fn fail(&self, status: Status) {
        *self.0.fails.lock().expect("not poisoned") = Some(status);
    }

    pub(crate) fn hold(&self, machine: i32) {
        self.0.held.send_modify(|held| {
            held.insert(machine);
        });
    }

    pub(crate) fn let_go(&self) {
        self.0.held.send_modify(HashSet::clear);
    }

    /// Returns when so many calls have come.
    pub(crate) async fn called(&self, times: usize) -> Vec<AssessRequest> {
        let mut calls = self.0.calls.subscribe();
        let calls = calls
            .wait_for(|calls| calls.len() >= times)
            .await
            .expect("the sender is here");
        calls.clone()
    }

    pub(crate) fn overlapped(&self) -> bool {
        self.0.busy.lock().expect("not poisoned").1
    }

    pub(crate) fn channel(&self) -> Channel {
        let server = Server::open(server::Config::default()).service(EnsembleServiceServer::new(self.clone()));
        Channel::in_process(server.assemble().expect("a whole server"))
    }
}

#[tonic::async_trait]
impl EnsembleService for FakeEnsemble {
    async fn assess(&self, request: Request<AssessRequest>) -> Result<Response<AssessResponse>, Status> {
        let request = request.into_inner();
        self.0.calls.send_modify(|calls| calls.push(request.clone()));
        let failure = self.0.fails.lock().expect("not poisoned").clone();
        if let Some(status) = failure {
            return Err(status);
        }
        let machines: HashSet<i32> = request.readings.iter().map(|reading| reading.machine_id).collect();
        {
            let mut busy = self.0.busy.lock().expect("not poisoned");
            busy.1 |= !busy.0.is_disjoint(&machines);
            busy.0.extend(&machines);
        }
        let mut held = self.0.held.subscribe();
        let free = held.wait_for(|held| held.is_disjoint(&machines)).await;
        drop(free);
        tokio::task::yield_now().await;
        self.0
            .busy
            .lock()
            .expect("not poisoned")
            .0
            .retain(|machine| !machines.contains(machine));
        let outcome = |rpm: Option<f32>| match rpm {
            Some(1.0) => ReadingOutcome::Duplicate,
            Some(2.0) => ReadingOutcome::Conflict,
            Some(3.0) => ReadingOutcome::NotStored {
                reason: "disk full".to_owned(),
            },
            _ => ReadingOutcome::Stored {
                verdict: Verdict::Normal { by: Detector::Residual },
            },
        };
        let outcomes = request
            .readings
            .iter()
            .map(|reading| outcome(reading.rpm).into())
            .collect();
        Ok(Response::new(AssessResponse { outcomes }))
    }
}

/// Tokens: `gateway`, `privileged` (may replay and send history) and `service`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Arc<Mutex<bool>>);

impl Tokens {
    pub(crate) fn revoke(&self) {
        *self.0.lock().expect("not poisoned") = true;
    }

    fn auth(&self) -> Auth<Principal> {
        let tokens = self.clone();
        Auth::new(Verifier::new(move |credential| {
            let revoked = *tokens.0.lock().expect("not poisoned");
            let principal = match credential.token.expose() {
                _ if revoked => Err(Denied::Unknown),
                "gateway" => Ok(Principal::Gateway(gateway())),
                "privileged" => Ok(Principal::Gateway(Gateway {
                    may_replay: true,
                    may_send_historical: true,
                    ..gateway()
                })),
                "service" => Ok(Principal::Service),
                _ => Err(Denied::Unknown),
            };
            std::future::ready(principal)
        }))
    }
}

/// Ingest in front of ensembles, its site known without a database.
pub(crate) fn ingest(config: &Config, ensembles: impl IntoIterator<Item = Channel>) -> Ingest {
    let nowhere = PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").expect("a url");
    let directory = Directory::new(config, Store::from_pool(nowhere));
    directory.put(site());
    let ensembles = Replicas::new(ensembles).expect("at least one");
    Ingest(Arc::new(Intake::new(
        config,
        directory,
        ensembles,
        Clock::manual(now()),
    )))
}

/// A server that asks about every credential each time, and about a stream's every few milliseconds.
pub(crate) fn server(ingest: &Ingest, tokens: &Tokens) -> Server {
    let config = server::Config {
        auth: auth::Config {
            cache_ttl_ms: 0,
            reverify_ms: 5,
            ..auth::Config::default()
        },
        ..server::Config::default()
    };
    Server::new(config, tokens.auth())
        .service(ingest.service(16 << 20))
        .routes(ingest.routes())
}

pub(crate) fn token(text: &str) -> Token {
    Token::parse(text).expect("a token")
}
