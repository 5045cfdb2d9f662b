//! A database of its own, the three services behind the real stack, and people and gateways to call them.

use tocsin_contracts::PUBLIC_METHODS;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{Account, CreateAccountRequest, SignInRequest};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateClassRequest, CreateSiteRequest, CreateSpecRequest, MachineClass, Site, Spec};
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_domain::{Clock, Principal, SpectrumSpec, Timestamp};
use tocsin_models::BundleStore;
use tocsin_registry::{Config, build, secret};
use tocsin_scratch::Scratch;
use tocsin_store::Store;
use tocsin_transport::auth::{self, Auth, Credential, Denied, Token, Verifier};
use tocsin_transport::{Channel, Server, server};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

/// The deployment's own credential.
pub(crate) const SERVICE: &str = "the-service-credential";
/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    channel: Channel,
    scratch: Scratch,
    _background: DropGuard,
}

impl Stage {
    /// A fresh stage with the sites `lisbon` and `porto`, the class `cnc` and the spec `spindle`; none, with a message,
    /// when there is no server to make a database on.
    pub(crate) async fn start(config: Config) -> Option<Self> {
        let scratch = Scratch::make("registry").await?;
        let store = scratch.store.clone();
        let clock = Clock::manual(Timestamp::parse("start", "2026-03-01T12:00:00Z").unwrap());
        let blobs = BundleStore::open("memory://").unwrap();
        let registry = build(config, store.clone(), blobs, clock.clone()).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(registry.background.run(shutdown.clone()));
        let auth = Auth::new(verifier(store.clone(), clock.clone())).public(PUBLIC_METHODS.iter().copied());
        let asking_every_time = auth::Config {
            cache_ttl_ms: 0,
            ..auth::Config::default()
        };
        let stack = Server::new(
            server::Config {
                auth: asking_every_time,
                ..server::Config::default()
            },
            auth,
        )
        .service(registry.access)
        .service(registry.fleet)
        .service(registry.bundles)
        .assemble()
        .unwrap();
        let channel = Channel::in_process(stack);
        let stage = Self {
            store,
            clock,
            channel,
            scratch,
            _background: shutdown.drop_guard(),
        };
        stage.furnish().await;
        Some(stage)
    }

    async fn furnish(&self) {
        let mut fleet = self.fleet(SERVICE);
        for name in ["lisbon", "porto"] {
            let site = Site {
                name: name.into(),
                ..Site::default()
            };
            fleet.create_site(CreateSiteRequest { site: Some(site) }).await.unwrap();
        }
        let class = MachineClass {
            name: "cnc".into(),
            step_ms: 0,
            ..MachineClass::default()
        };
        fleet
            .create_class(CreateClassRequest { class: Some(class) })
            .await
            .unwrap();
        let definition_json = serde_json::to_string(&SpectrumSpec::corpus_default(64)).unwrap();
        let spec = Spec {
            name: "spindle".into(),
            definition_json,
        };
        fleet.create_spec(CreateSpecRequest { spec: Some(spec) }).await.unwrap();
    }

    /// Drops the database; one of a failed test stays, to be looked at.
    pub(crate) async fn finish(self) {
        self.scratch.drop().await;
    }

    fn channel(&self, token: &str) -> Channel {
        self.channel.clone().with_token(&Token::parse(token).unwrap())
    }

    pub(crate) fn anyone(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel.clone())
    }

    pub(crate) fn access(&self, token: &str) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel(token))
    }

    pub(crate) fn fleet(&self, token: &str) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel(token))
    }

    pub(crate) fn registry(&self, token: &str) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel(token))
    }

    /// Signs in; the session.
    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Result<String, Status> {
        let request = SignInRequest {
            name: name.into(),
            password: password.into(),
        };
        Ok(self.anyone().sign_in(request).await?.into_inner().session)
    }

    /// A new account, for every site when none is given, signed in.
    pub(crate) async fn person(&self, name: &str, role: &str, sites: &[&str]) -> String {
        let account = account(name, role, sites);
        let request = CreateAccountRequest {
            account: Some(account),
            password: PASSWORD.into(),
        };
        self.access(SERVICE).create_account(request).await.unwrap();
        self.sign_in(name, PASSWORD).await.unwrap()
    }

    /// Actor, action and subject of what was done, oldest first, without what furnished the stage.
    pub(crate) async fn audit(&self) -> Vec<(String, String, String)> {
        let mut entries = self.store.audit_list(None, 1000).await.unwrap();
        entries.reverse();
        entries
            .into_iter()
            .skip(4)
            .map(|entry| (entry.actor, entry.action, entry.subject))
            .collect()
    }
}

pub(crate) fn account(name: &str, role: &str, sites: &[&str]) -> Account {
    Account {
        name: name.into(),
        role: role.into(),
        all_sites: sites.is_empty(),
        sites: sites.iter().map(|site| (*site).to_owned()).collect(),
        ..Account::default()
    }
}

fn verifier(store: Store, clock: Clock) -> Verifier<Principal> {
    Verifier::new(move |credential: Credential| {
        let (store, clock) = (store.clone(), clock.clone());
        async move {
            let token = credential.token.expose();
            if token == SERVICE {
                return Ok(Principal::Service);
            }
            match store.principal_by_secret_hash(&secret::hash(token), clock.now()).await {
                Ok(Some(principal)) => Ok(principal),
                Ok(None) => Err(Denied::Unknown),
                Err(error) => Err(Denied::Unavailable {
                    reason: error.to_string(),
                }),
            }
        }
    })
}
