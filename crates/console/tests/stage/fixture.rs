//! Stands for the services: the contracts served in-process, with machines, incidents and spectra made up from a counter.

mod access;
mod fleet;
mod incident_review;
mod incidents;
mod limits;
mod models;
mod performance;
mod review;
mod sensor_alarms;
mod training;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tocsin_console::Services;
use tocsin_contracts::PUBLIC_METHODS;
use tocsin_contracts::access::v1::access_service_server::AccessServiceServer;
use tocsin_contracts::fleet::v1::fleet_service_server::FleetServiceServer;
use tocsin_contracts::incidents::v1::incidents_service_server::IncidentsServiceServer;
use tocsin_contracts::incidents::v1::sensor_alarms_service_server::SensorAlarmsServiceServer;
use tocsin_contracts::recalibrator::v1::recalibrator_service_server::RecalibratorServiceServer;
use tocsin_contracts::registry::v1::registry_service_server::RegistryServiceServer;
use tocsin_contracts::review::v1::review_service_server::ReviewServiceServer;
use tocsin_contracts::time::to_wire;
use tocsin_contracts::training::v1::training_service_server::TrainingServiceServer;
use tocsin_domain::{Clock, Timestamp};
use tocsin_transport::auth::{Auth, Denied, Verifier};
use tocsin_transport::{Channel, Server, server};

pub(crate) use incidents::Acknowledged;

/// Which fleet there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fleet {
    /// No site, no machine.
    Empty,
    /// Two sites, some machines in every state.
    Small,
    /// 1,200 machines with 2,400 sensors.
    Large,
    /// Names, titles and notes that try to be HTML.
    Hostile,
}

/// Whoever a session's token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: String,
}

/// What the services share.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    pub(crate) fleet: Fleet,
    pub(crate) clock: Clock,
    pub(crate) acknowledged: Acknowledged,
    /// What was asked of the models.
    pub(crate) orders: Arc<Mutex<Vec<String>>>,
}

/// Sessions there are: name and role; the password is `bell`, the token `session-NAME`.
pub(crate) const PEOPLE: [(&str, &str); 5] = [
    ("olga", "operator"),
    ("vera", "viewer"),
    ("erik", "engineer"),
    ("ines", "engineer"),
    ("ada", "admin"),
];

impl Fixture {
    pub(crate) fn new(fleet: Fleet, clock: Clock) -> Self {
        Self {
            fleet,
            clock,
            acknowledged: Acknowledged::default(),
            orders: Arc::default(),
        }
    }

    fn order(&self, order: String) {
        self.orders.lock().expect("nobody panicked").push(order);
    }

    /// All services over one channel.
    pub(crate) fn services(&self) -> Services {
        Services::all(&self.channel())
    }

    pub(crate) fn channel(&self) -> Channel {
        let verifier = Verifier::new(|credential| async move {
            let token = credential.token.expose().to_owned();
            let person = PEOPLE.iter().find(|(name, _)| token == format!("session-{name}"));
            let (name, role) = person.ok_or(Denied::Unknown)?;
            Ok(Caller {
                name: (*name).to_owned(),
                role: (*role).to_owned(),
            })
        });
        let auth = Auth::new(verifier).public(PUBLIC_METHODS.iter().copied());
        let this = Arc::new(self.clone());
        let large = 32 << 20;
        let stack = Server::new(server::Config::default(), auth)
            .service(AccessServiceServer::from_arc(Arc::clone(&this)))
            .service(FleetServiceServer::from_arc(Arc::clone(&this)).max_encoding_message_size(large))
            .service(IncidentsServiceServer::from_arc(Arc::clone(&this)))
            .service(SensorAlarmsServiceServer::from_arc(Arc::clone(&this)))
            .service(ReviewServiceServer::from_arc(Arc::clone(&this)).max_encoding_message_size(large))
            .service(RegistryServiceServer::from_arc(Arc::clone(&this)))
            .service(RecalibratorServiceServer::from_arc(Arc::clone(&this)))
            .service(TrainingServiceServer::from_arc(this))
            .assemble()
            .expect("the services fit together");
        Channel::in_process(stack)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the messages' fields want it")]
    fn ago(&self, seconds: u64) -> Option<prost_types::Timestamp> {
        Some(to_wire(self.time_ago(seconds)))
    }

    fn time_ago(&self, seconds: u64) -> Timestamp {
        self.clock.now() - Duration::from_secs(seconds)
    }
}

/// A number from 0 to 1 that depends on its arguments alone (`SplitMix64`).
fn noise(seed: u64, i: u64) -> f64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(i.wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add(0x94D0_49BB_1331_11EB);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Methods that no page calls.
macro_rules! refuse {
    ($($method:ident, $request:ty, $response:ty;)*) => {
        $(
            fn $method<'life, 'answer>(
                &'life self,
                _: tonic::Request<$request>,
            ) -> std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>> + Send + 'answer>>
            where
                'life: 'answer,
                Self: 'answer,
            {
                Box::pin(async { Err(tonic::Status::unimplemented("no page calls this")) })
            }
        )*
    };
}
use refuse;
