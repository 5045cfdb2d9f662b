//! The platform itself: whether its services answer, and which pages have not reached their destinations.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Redirect;
use maud::{Markup, html};
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::incidents::v1::{
    Delivery, ListDeliveriesRequest, ListSensorAlarmsRequest, ResendDeliveryRequest,
};
use tocsin_contracts::review::v1::{ArchivedSite, GetArchiveRequest};
use tocsin_domain::PersonRole;
use tocsin_transport::Channel;
use tokio::time::{Instant, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::{Session, may};
use crate::view::{self, moment_and_age, tag};

/// A service that takes longer to say how it is does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A raw spectrum is a float a bin.
const RAW_BYTES: f64 = 4.0;
/// Deliveries that are shown of each state.
const LIMIT: u32 = 100;

/// What a service said of itself.
struct Answer {
    what: &'static str,
    /// Serving and how long that took to say, or what is wrong.
    said: Result<Duration, String>,
}

/// `GET /system`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let who = session.who().await?;
    let (answers, archive, waiting, dead, alarms) = tokio::join!(
        answers(&session),
        archive(&session),
        deliveries(&session, "waiting"),
        deliveries(&session, "dead"),
        alarms(&session)
    );
    let body = html! {
        div.heading {
            h1 { "System" }
            p.sub { "The platform itself. What it says of machines stands on the other pages; its figures over time are in the Grafana dashboards." }
        }
        div #system data-live {
            section.card { div.card-head { h2 { "Services" } } (services(&answers)) }
            section.card #deliveries {
                div.card-head { h2 { "Pages on their way" } p.sub { "A page that was given up is sent again by a person, under its old key: its receiver knows a repeat." } }
                (pages(&who, "Given up", dead))
                (pages(&who, "Waiting", waiting))
            }
            section.card #archive {
                div.card-head { h2 { "Archive" } p.sub { "What a reading takes beside its spectrum as it was sent." } }
                @match &archive {
                    Ok(sites) if sites.is_empty() => p.none { "Nothing is archived." },
                    Ok(sites) => (archived(sites)),
                    Err(reason) => p.warn { (view::icon("alert")) " " (reason) },
                }
            }
            section.card {
                div.card-head { h2 { "Instruments" } }
                @match alarms {
                    Ok(0) => p { (view::icon("normal")) " No sensor and no gateway is silent or stuck." },
                    Ok(open) => p { (view::icon("alert")) " " a href="/sensors" { (view::count(open)) " open alarms" } " about sensors and gateways." },
                    Err(reason) => p.warn { (view::icon("alert")) " " (reason) },
                }
            }
        }
    };
    Ok(page("System", Nav::System, &who, &body))
}

/// `POST /system/deliveries/{id}/resend`.
pub(crate) async fn resend(session: Session, Path(delivery_id): Path<i64>) -> Result<Redirect, Failure> {
    let request = ResendDeliveryRequest { delivery_id };
    let done = session.incidents().resend_delivery(request).await;
    done.map_err(Part::Incidents.failed())?;
    Ok(Redirect::to("/system#deliveries"))
}

/// Asks each service by its full name, all at once.
async fn answers(session: &Session) -> [Answer; 7] {
    let services = session.services();
    let ask = async |what, channel: &Channel, name| Answer {
        what,
        said: health(channel, name).await,
    };
    tokio::join!(
        ask(
            "Sign-in and accounts",
            &services.access,
            "tocsin.access.v1.AccessService"
        ),
        ask("Sites and machines", &services.fleet, "tocsin.fleet.v1.FleetService"),
        ask(
            "Incidents and pages",
            &services.incidents,
            "tocsin.incidents.v1.IncidentsService"
        ),
        ask(
            "Levels, spectra, verdicts",
            &services.review,
            "tocsin.review.v1.ReviewService"
        ),
        ask("Models", &services.registry, "tocsin.registry.v1.RegistryService"),
        ask(
            "Alarm limits",
            &services.recalibrator,
            "tocsin.recalibrator.v1.RecalibratorService"
        ),
        ask("Training", &services.recalibrator, "tocsin.training.v1.TrainingService"),
    )
    .into()
}

async fn health(channel: &Channel, service: &str) -> Result<Duration, String> {
    let began = Instant::now();
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut client = HealthClient::new(channel.clone());
    let answer = timeout(PATIENCE, client.check(request)).await;
    let answer = answer.map_err(|_| format!("does not answer within {} s", PATIENCE.as_secs()))?;
    let status = answer
        .map_err(|status| status.message().to_owned())?
        .into_inner()
        .status();
    match status {
        ServingStatus::Serving => Ok(began.elapsed()),
        other => Err(format!("says {}", other.as_str_name())),
    }
}

fn services(answers: &[Answer]) -> Markup {
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { "Services and whether they answer" }
                thead { tr { th scope="col" { "Service" } th scope="col" { "State" } th.num scope="col" { "Answered in" } } }
                tbody {
                    @for answer in answers {
                        tr {
                            th scope="row" { (answer.what) }
                            @match &answer.said {
                                Ok(took) => {
                                    td data-label="state" { (view::icon("normal")) " serving" }
                                    td.num data-label="answered in" { (format!("{:.1} ms", took.as_secs_f64() * 1e3)) }
                                },
                                Err(reason) => {
                                    td.warn data-label="state" { (view::icon("alert")) " " (reason) }
                                    td.num data-label="answered in" { "–" }
                                },
                            }
                        }
                    }
                }
            }
        }
        p.hint { "Ingest and the scorers are asked by gateways and the ensemble alone: whether readings come in and are judged by the network shows on the fleet page." }
    }
}

async fn deliveries(session: &Session, state: &str) -> Result<Vec<Delivery>, String> {
    let request = ListDeliveriesRequest {
        state: state.to_owned(),
        limit: LIMIT,
        ..ListDeliveriesRequest::default()
    };
    let answer = session.incidents().list_deliveries(request).await;
    answer
        .map(|answer| answer.into_inner().deliveries)
        .map_err(|status| status.message().to_owned())
}

async fn alarms(session: &Session) -> Result<u64, String> {
    let request = ListSensorAlarmsRequest {
        open_only: true,
        limit: 1_000,
        ..ListSensorAlarmsRequest::default()
    };
    let answer = session.sensor_alarms().list_sensor_alarms(request).await;
    answer
        .map(|answer| answer.into_inner().alarms.len() as u64)
        .map_err(|status| status.message().to_owned())
}

async fn archive(session: &Session) -> Result<Vec<ArchivedSite>, String> {
    let answer = session.review().get_archive(GetArchiveRequest {}).await;
    answer
        .map(|answer| answer.into_inner().sites)
        .map_err(|status| status.message().to_owned())
}

fn archived(sites: &[ArchivedSite]) -> Markup {
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { "Archived readings of each site, and their size" }
                thead { tr {
                    th scope="col" { "Site" } th.num scope="col" { "Readings" } th.num scope="col" { "With their spectrum" }
                    th.num scope="col" { "Bytes per reading" } th.num scope="col" { "Raw spectrum, bytes" } th.num scope="col" { "Share of raw" }
                } }
                tbody {
                    @for site in sites {
                        @let each = site.bytes as f64 / site.readings.max(1) as f64;
                        tr {
                            th scope="row" { (site.site) }
                            td.num data-label="readings" { (view::count(site.readings)) }
                            td.num data-label="with their spectrum" { (view::count(site.spectra)) }
                            td.num data-label="bytes per reading" { (format!("{each:.1}")) }
                            td.num data-label="raw spectrum, bytes" { (range(site, |bins| (RAW_BYTES * f64::from(bins)).to_string())) }
                            td.num data-label="share of raw" { (range(site, |bins| format!("{:.1} %", 100.0 * each / (RAW_BYTES * f64::from(bins))))) }
                        }
                    }
                }
            }
        }
        p.hint {
            "The bytes are those of the archive's files: scores, verdict, latent, and the spectra that are not thinned away, compressed. "
            "Postgres keeps keys of nine bytes a reading beside them, and whole rows for pages and of silent sensors. Raw is four bytes a bin, "
            "by the bins that the site's sensors have now. A spectrum that is not kept can be shown rebuilt from its latent, marked as such, and is no evidence."
        }
    }
}

/// Of the sensor with the fewest bins, and of that with the most where they differ.
fn range(site: &ArchivedSite, of: impl Fn(u32) -> String) -> String {
    match (site.least_bins, site.most_bins) {
        (0, _) | (_, 0) => "–".to_owned(),
        (least, most) if least == most => of(least),
        (least, most) => format!("{} to {}", of(least), of(most)),
    }
}

fn pages(who: &WhoAmIResponse, title: &str, deliveries: Result<Vec<Delivery>, String>) -> Markup {
    html! {
        h3 { (title) }
        @match deliveries {
            Err(reason) => p.warn { (view::icon("alert")) " " (reason) },
            Ok(deliveries) if deliveries.is_empty() => p.none { "None." },
            Ok(deliveries) => {
                (table(title, may(who, PersonRole::Operator), &deliveries))
                @if deliveries.len() == LIMIT as usize { p.hint { "The newest " (LIMIT) ": " code { "tocsin deliveries list" } " shows all." } }
            },
        }
    }
}

fn table(title: &str, acts: bool, deliveries: &[Delivery]) -> Markup {
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { (title) }
                thead { tr {
                    th scope="col" { "Destination" } th scope="col" { "Page" } th scope="col" { "Decided" } th.num scope="col" { "Attempts" }
                    th scope="col" { "The receiver's last answer" } th scope="col" { "Next" }
                } }
                tbody {
                    @for delivery in deliveries {
                        tr {
                            th scope="row" { (delivery.destination) }
                            td data-label="page" { (tag(&delivery.action)) " " a href=(format!("/incidents/{}", delivery.incident_id)) { (delivery.site) "/" (delivery.machine) } }
                            td data-label="decided" { (moment_and_age(view::at(delivery.created_at))) }
                            td.num data-label="attempts" { (delivery.attempts) }
                            td data-label="last answer" { @match &delivery.last_attempt { Some(attempt) => { (attempt.outcome) ": " (attempt.answer) }, None => "–" } }
                            td data-label="next" {
                                @if delivery.state == "dead" && acts {
                                    form method="post" action=(format!("/system/deliveries/{}/resend", delivery.delivery_id)) { button type="submit" { "Send again" } }
                                } @else { (moment_and_age(view::at(delivery.next_attempt_at))) }
                            }
                        }
                    }
                }
            }
        }
    }
}
