//! From an empty platform to the first reading and the first page: what is there already, and what comes next, ticked as it comes true.
//!
//! The page has a stream of events of its own, since sites, classes and tokens are made without a word to `/live`.

mod steps;

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use http::HeaderMap;
use http::header::HOST;
use maud::{Markup, html};
use tocsin_contracts::access::v1::ListTokensRequest;
use tocsin_contracts::fleet::v1::{
    ListClassesRequest, ListMachinesRequest, ListSitesRequest, ListSpecsRequest, MachineClass, Site, Spec,
};
use tocsin_contracts::incidents::v1::{ListDestinationsRequest, PageDestination};
use tocsin_contracts::registry::v1::ListBindingsRequest;
use tocsin_transport::server::Draining;
use tokio::sync::mpsc;
use tonic::Code;
use url::Url;

use crate::console::{App, Console};
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::live;
use crate::session::Session;

/// How often an open page looks again.
const BEAT: Duration = Duration::from_secs(2);
/// The same once readings come in: what is left is not done in passing.
const RARELY: Duration = Duration::from_secs(30);

/// Where gateways send where nobody says so: the server's own default.
const USUAL_INGEST: &str = "http://127.0.0.1:7700";

/// What a platform has already, as far as the looker sees it.
pub(crate) struct Setup {
    sites: Vec<Site>,
    classes: Vec<MachineClass>,
    specs: Vec<Spec>,
    /// Whether a gateway could send; `None` for those who are not told, all but administrators.
    token: Option<bool>,
    machines: usize,
    readings: bool,
    judged: bool,
    destinations: Vec<PageDestination>,
}

impl Setup {
    async fn of(session: &Session) -> Result<Self, Failure> {
        let fleet = Part::Fleet.failed();
        let (mut sites, mut classes, mut specs, mut machines) =
            (session.fleet(), session.fleet(), session.fleet(), session.fleet());
        let (mut registry, mut incidents) = (session.registry(), session.incidents());
        let (sites, classes, specs, machines, token, bindings, destinations) = tokio::try_join!(
            async { sites.list_sites(ListSitesRequest {}).await.map_err(&fleet) },
            async { classes.list_classes(ListClassesRequest {}).await.map_err(&fleet) },
            async { specs.list_specs(ListSpecsRequest {}).await.map_err(&fleet) },
            async {
                machines
                    .list_machines(ListMachinesRequest::default())
                    .await
                    .map_err(&fleet)
            },
            token(session),
            async {
                let asked = ListBindingsRequest::default();
                registry.list_bindings(asked).await.map_err(Part::Registry.failed())
            },
            async {
                let asked = ListDestinationsRequest {};
                incidents
                    .list_destinations(asked)
                    .await
                    .map_err(Part::Incidents.failed())
            },
        )?;
        let machines = machines.into_inner().machines;
        let readings = machines.iter().any(|machine| machine.newest_reading_at.is_some());
        Ok(Self {
            sites: sites.into_inner().sites,
            classes: classes.into_inner().classes,
            specs: specs.into_inner().specs,
            // A reading came by one, whatever has become of it.
            token: if readings { Some(true) } else { token },
            machines: machines.len(),
            readings,
            judged: bindings
                .into_inner()
                .bindings
                .iter()
                .any(|binding| binding.champion_bundle_id != 0),
            destinations: destinations.into_inner().destinations,
        })
    }

    /// Which steps are done, in the order of the page; `None` where the looker is not told.
    fn done(&self) -> [Option<bool>; 7] {
        [
            Some(!self.sites.is_empty()),
            Some(!self.classes.is_empty() && !self.specs.is_empty()),
            self.token,
            Some(self.machines > 0),
            Some(self.readings),
            Some(self.judged),
            Some(!self.destinations.is_empty()),
        ]
    }

    fn is_complete(&self) -> bool {
        self.done().iter().all(|done| *done == Some(true))
    }
}

/// Whether a token is there that nobody has taken back.
async fn token(session: &Session) -> Result<Option<bool>, Failure> {
    let asked = ListTokensRequest::default();
    match session.access().list_tokens(asked).await {
        Ok(answer) => {
            let tokens = answer.into_inner().tokens;
            Ok(Some(tokens.iter().any(|token| token.revoked_at.is_none())))
        }
        Err(status) if status.code() == Code::PermissionDenied => Ok(None),
        Err(status) => Err(Part::Access.failed()(status)),
    }
}

/// `GET /start`.
pub(crate) async fn show(State(app): State<App>, session: Session, headers: HeaderMap) -> Result<Markup, Failure> {
    let (who, setup) = tokio::try_join!(session.who(), Setup::of(&session))?;
    let done = setup.done();
    let count = done.iter().filter(|done| **done == Some(true)).count();
    let body = html! {
        div.heading {
            h1 { "First run" }
            p.sub #progress data-live { (count) " of " (done.len()) " steps done" @if setup.is_complete() { ": everything is in place." } }
        }
        section.card.first-run #steps data-live data-events="/start/live" {
            (steps::show(&setup, &ingest(&app, &headers), &who))
        }
    };
    Ok(page("First run", Nav::Fleet, &who, &body))
}

/// Where gateways send, as whoever asks would reach it: an address that is every address of a machine is the one that was asked.
fn ingest(app: &Console, headers: &HeaderMap) -> String {
    let configured = app.ingest_url.as_deref().unwrap_or(USUAL_INGEST);
    let Ok(mut url) = Url::parse(configured) else {
        return configured.to_owned();
    };
    let everywhere = matches!(url.host_str(), Some("0.0.0.0" | "[::]"));
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
    let asked = asked.and_then(|host| Url::parse(&format!("http://{host}")).ok());
    if let Some(host) = asked.as_ref().and_then(Url::host_str).filter(|_| everywhere) {
        // A host that was read from an address fits into another.
        let _ = url.set_host(Some(host));
    }
    url.origin().ascii_serialization()
}

/// `GET /start/live`: an event `setup` at once, and whenever a step is done or undone.
pub(crate) async fn stream(session: Session, draining: Option<Extension<Draining>>) -> Result<Response, Failure> {
    let first = Setup::of(&session).await?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(watch(
        session,
        first,
        sender,
        draining.map(|Extension(draining)| draining),
    ));
    Ok(live::events(receiver))
}

/// Until the browser goes, the server drains, or a service doesn't answer; the browser comes back by itself.
async fn watch(session: Session, first: Setup, sender: mpsc::Sender<Event>, draining: Option<Draining>) {
    if sender.send(live::hello()).await.is_err() {
        return;
    }
    let drain = async {
        match &draining {
            Some(draining) => draining.started().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(drain);
    let (mut setup, mut told) = (first, None);
    loop {
        if told != Some(setup.done()) {
            told = Some(setup.done());
            let data = setup.done().map(|done| if done == Some(true) { '1' } else { '0' });
            let event = Event::default().event("setup").data(String::from_iter(data));
            if sender.send(event).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = &mut drain => return,
            () = sender.closed() => return,
            // A platform that is complete stays so: it is not asked over and over. One that has readings is looked at less.
            () = tokio::time::sleep(if setup.readings { RARELY } else { BEAT }), if !setup.is_complete() => {}
        }
        setup = match Setup::of(&session).await {
            Ok(setup) => setup,
            Err(_) => return,
        };
    }
}
