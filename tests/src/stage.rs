//! The whole platform in this process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tocsin::credential::ServiceCredential;
use tocsin::publish::Publisher;
use tocsin::rollout::{self, Rollout};
use tocsin::{Config, Platform, Role, Running};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{CreateTokenRequest, Token};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    CreateClassRequest, CreateSensorRequest, CreateSiteRequest, CreateSpecRequest, MachineClass, Sensor, Site, Spec,
};
use tocsin_contracts::ingest::StreamProperties;
use tocsin_domain::{BundleId, Clock};
use tocsin_models::BundleStore;
use tocsin_pager::Destination;
use tocsin_pager::destination::Webhook;
use tocsin_store::Store;
use tocsin_transport::{Channel, auth};

use crate::binary::{self, CommandLine};
use crate::{Plant, Postgres, Receiver};

/// The class, spec and site every stage has.
pub const CLASS: &str = "pump";
/// The spec's name.
pub const SPEC: &str = "pump-64";
/// The site's name.
pub const SITE: &str = "works";

/// Below those that Linux gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Defaults on ports that the system chooses.
fn quiet_config() -> Result<Config> {
    let mut config = Config::load(None, |_| None)?;
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.console.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.telemetry.metrics_listen = None;
    // Stories with floods set this themselves; the others wait for no flood.
    config.pager.flood_wait_ms = 0;
    Ok(config)
}

/// An address that nobody listens at now. Its port is none that the system gives to outgoing connections: it is to be
/// free still when it is bound, and when it is bound again after a kill.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Tests run in processes of their own: a few ports for each.
    let first = std::process::id().wrapping_mul(32);
    for _ in 0..PORTS.len() {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u32;
        let address = SocketAddr::from(([127, 0, 0, 1], PORTS.start + number as u16));
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// The machine that finds out whether the ensemble judges yet.
const PROBE: &str = "probe";
/// How often it asks: for half a minute at least.
const PROBES: u64 = 300;

/// Every role on a fresh database, in memory objects, and a receiver of pages.
#[derive(Debug)]
pub struct Stage {
    /// The platform.
    pub running: Running,
    /// Its database.
    pub postgres: Postgres,
    /// Connections of the story's own.
    pub store: Store,
    /// Where pages go.
    pub receiver: Receiver,
    /// The platform's "now".
    pub clock: Clock,
    credential: ServiceCredential,
    bundles: BundleStore,
}

impl Stage {
    /// Starts everything, with the site, class and spec, and no sensors and no model yet.
    pub async fn start() -> Result<Self> {
        Self::start_with(Role::ALL, |_| ()).await
    }

    /// The same, with roles and settings of the story's own.
    pub async fn start_with(roles: impl IntoIterator<Item = Role>, change: impl FnOnce(&mut Config)) -> Result<Self> {
        Self::start_at(Clock::system(), roles, change).await
    }

    /// The same, with another "now" than the system's.
    pub async fn start_at(
        clock: Clock,
        roles: impl IntoIterator<Item = Role>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let postgres = Postgres::fresh().await?;
        let receiver = Receiver::start().await?;
        let mut config = quiet_config()?;
        config.registry.verify.command = Some(binary::path()?);
        config.pager.destinations = vec![Destination::Webhook(Webhook::new("receiver", receiver.url()))];
        change(&mut config);
        let store = postgres.store().await?;
        let credential = ServiceCredential::generate()?;
        let bundles = BundleStore::open("memory://")?;
        let running = Platform::builder(config)
            .roles(roles)
            .credential(credential.clone())
            .clock(clock.clone())
            .store(postgres.store().await?)
            .bundles(bundles.clone())
            .start()
            .await?;
        let stage = Self {
            running,
            postgres,
            store,
            receiver,
            clock,
            credential,
            bundles,
        };
        declare(stage.running.service_channel()).await?;
        Ok(stage)
    }

    /// The same, with a trained bundle and alarm limits in force and two machines of two sensors.
    pub async fn judging() -> Result<Self> {
        let stage = Self::start().await?;
        for machine in ["m1", "m2"] {
            for sensor in ["h", "v"] {
                stage.sensor(machine, sensor).await?;
            }
        }
        stage.bundle(1).await?;
        Ok(stage)
    }

    /// Another platform of the same deployment, which knows the first one's registry.
    pub async fn beside(&self, roles: impl IntoIterator<Item = Role>, listen: SocketAddr) -> Result<Running> {
        self.beside_with(roles, |config| config.server.listen = listen).await
    }

    /// The same, with settings of the story's own.
    pub async fn beside_with(
        &self,
        roles: impl IntoIterator<Item = Role>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Running> {
        let mut config = quiet_config()?;
        config.peers.registry = vec![format!("http://{}", self.running.grpc_addr())];
        change(&mut config);
        Platform::builder(config)
            .roles(roles)
            .credential(self.credential.clone())
            .clock(self.clock.clone())
            .store(self.postgres.store().await?)
            .bundles(self.bundles.clone())
            .start()
            .await
    }

    /// Copies a registered bundle to another store: of a process beside this one, which does not share this one's memory.
    pub async fn copy_bundle(&self, bundle: BundleId, to: &BundleStore) -> Result<()> {
        let digest = self.store.bundle_by_id(bundle).await?.digest;
        to.put(&self.bundles.get_archive(&digest).await?).await?;
        Ok(())
    }

    /// The built `tocsin` with the service's credential.
    pub fn command_line(&self) -> CommandLine {
        let target = format!("http://{}", self.running.grpc_addr());
        CommandLine::new(target, self.credential.token().clone())
    }

    /// The service's credential, which sees everything.
    pub fn service_token(&self) -> &auth::Token {
        self.credential.token()
    }

    /// What that answers, as JSON.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value> {
        self.command_line().ask(arguments).await
    }

    /// Asks until the answer is as it should be, for a minute at least.
    pub async fn ask_until(&self, arguments: &[&str], holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut said = Value::Null;
        for _ in 0..300 {
            said = self.ask(arguments).await?;
            if holds(&said) {
                return Ok(said);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        bail!("waited in vain on tocsin {}: {said:#}", arguments.join(" "))
    }

    /// What it prints for people.
    pub async fn say(&self, arguments: &[&str]) -> Result<String> {
        self.command_line().say(arguments).await
    }

    /// Registers a sensor of the site.
    pub async fn sensor(&self, machine: &str, sensor: &str) -> Result<()> {
        register_sensor(self.running.service_channel(), machine, sensor, SPEC).await
    }

    /// Trains a bundle and registers it with alarm limits, and waits until they judge.
    pub async fn bundle(&self, seed: u64) -> Result<Rollout> {
        let archive = Plant::bundle(CLASS, seed)?;
        let rollout = rollout::register(&self.running.service_channel(), CLASS, &archive).await?;
        self.wait_until_judging().await?;
        Ok(rollout)
    }

    /// The ensemble follows the registry when it gets round to it. A machine of its own is sent to it until one of its
    /// readings is judged, and leaves no trace.
    pub async fn wait_until_judging(&self) -> Result<()> {
        self.sensor(PROBE, "h").await?;
        let mut publisher = self.publisher().await?;
        for nth in 0..PROBES {
            let name = format!("{PROBE}/h");
            publisher
                .publish(vec![Plant::reading(&name, nth, Plant::healthy(nth))])
                .await?;
            let unjudged: i64 = sqlx::query_scalar("select count(*) from reading where verdict & 255 = 3")
                .fetch_one(self.store.pool())
                .await?;
            if unjudged <= nth as i64 {
                return self.forget_probe().await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        bail!("the ensemble did not take up the bundle in {PROBES} tries")
    }

    async fn forget_probe(&self) -> Result<()> {
        for statement in [
            "delete from reading where sensor_id in (select sensor_id from sensor join machine m using (machine_id) where m.name = $1)",
            "delete from evidence where machine_id = (select machine_id from machine where name = $1)",
            "delete from machine_state where machine_id = (select machine_id from machine where name = $1)",
            "delete from commissioning where sensor_id in (select sensor_id from sensor join machine m using (machine_id) where m.name = $1)",
            "delete from sensor where machine_id = (select machine_id from machine where name = $1)",
            "delete from device where machine_id = (select machine_id from machine where name = $1)",
            "delete from machine where name = $1",
        ] {
            sqlx::query(statement)
                .bind(PROBE)
                .execute(self.store.pool())
                .await
                .context(statement)?;
        }
        Ok(())
    }

    /// A gateway's token of the site that may replay and send history.
    pub async fn token(&self) -> Result<auth::Token> {
        self.token_with(|_| ()).await
    }

    /// The same, with grants of the story's own.
    pub async fn token_with(&self, change: impl FnOnce(&mut Token)) -> Result<auth::Token> {
        make_token(self.running.service_channel(), change).await
    }

    /// A publisher with a gateway's token, on the capture clock.
    pub async fn publisher(&self) -> Result<Publisher> {
        let channel: Channel = self.running.channel(&self.token().await?);
        let properties = StreamProperties {
            clock_is_capture: true,
            historical: false,
        };
        Ok(Publisher::new(channel, properties))
    }

    /// The same on the wall clock, with a token that may do nothing else: a gateway at a plant.
    pub async fn wall_clock_publisher(&self) -> Result<Publisher> {
        let token = self
            .token_with(|token| (token.may_replay, token.may_send_historical) = (false, false))
            .await?;
        let properties = StreamProperties {
            clock_is_capture: false,
            historical: false,
        };
        Ok(Publisher::new(self.running.channel(&token), properties))
    }

    /// Stops everything.
    pub async fn stop(self) -> Result<()> {
        self.running.shutdown().await;
        self.store.close().await;
        self.postgres.stop().await
    }
}

/// Makes the site, the class and the specification through a channel of the service's own.
pub async fn declare(channel: Channel) -> Result<()> {
    let mut fleet = FleetServiceClient::new(channel);
    let site = Site {
        name: SITE.to_owned(),
        title: "Works".to_owned(),
        time_zone: "UTC".to_owned(),
        ..Site::default()
    };
    fleet.create_site(CreateSiteRequest { site: Some(site) }).await?;
    let class = MachineClass {
        name: CLASS.to_owned(),
        step_ms: 10_000,
        ..MachineClass::default()
    };
    fleet.create_class(CreateClassRequest { class: Some(class) }).await?;
    let definition_json = serde_json::to_string(&Plant::spec()).context("the spec")?;
    let spec = Spec {
        name: SPEC.to_owned(),
        definition_json,
    };
    fleet.create_spec(CreateSpecRequest { spec: Some(spec) }).await?;
    Ok(())
}

/// Registers a sensor of the site under a specification.
pub async fn register_sensor(channel: Channel, machine: &str, sensor: &str, spec: &str) -> Result<()> {
    let sensor = Sensor {
        site: SITE.to_owned(),
        machine: machine.to_owned(),
        sensor: sensor.to_owned(),
        class: CLASS.to_owned(),
        spec: spec.to_owned(),
        ..Sensor::default()
    };
    let request = CreateSensorRequest { sensor: Some(sensor) };
    FleetServiceClient::new(channel).create_sensor(request).await?;
    Ok(())
}

/// Makes a gateway's token of the site that may replay and send history, unless `change` takes that away.
pub async fn make_token(channel: Channel, change: impl FnOnce(&mut Token)) -> Result<auth::Token> {
    let mut token = Token {
        site: SITE.to_owned(),
        name: "gateway".to_owned(),
        may_replay: true,
        may_send_historical: true,
        ..Token::default()
    };
    change(&mut token);
    let request = CreateTokenRequest { token: Some(token) };
    let made = AccessServiceClient::new(channel)
        .create_token(request)
        .await?
        .into_inner();
    auth::Token::parse(&made.secret).context("the secret")
}
