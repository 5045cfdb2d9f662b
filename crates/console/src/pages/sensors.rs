//! Sensors that are silent or stuck, gateways that are silent, and sensors that were never heard: for whoever looks after
//! the instruments.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::incidents::v1::{
    AcknowledgeSensorAlarmRequest, ListSensorAlarmsRequest, SensorAlarm, WaitingSensor,
};
use tocsin_domain::PersonRole;

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::{Session, may};
use crate::view::{self, machine_href, moment, moment_and_age, sensor_alarm_state};

/// Alarms on the page, and sensors that wait.
const LIMIT: u32 = 1_000;

/// A note longer than this is cut by the browser already.
const NOTE_CHARS: usize = 2_000;

/// The acknowledgement.
#[derive(Debug, Deserialize)]
pub(crate) struct Note {
    #[serde(default)]
    note: String,
}

/// `GET /sensors`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let request = ListSensorAlarmsRequest {
        open_only: true,
        limit: LIMIT,
        ..ListSensorAlarmsRequest::default()
    };
    let mut client = session.sensor_alarms();
    let (who, answer) = tokio::try_join!(session.who(), async {
        client
            .list_sensor_alarms(request)
            .await
            .map_err(Part::Incidents.failed())
    })?;
    let answer = answer.into_inner();
    let body = html! {
        div.heading {
            h1 { "Sensors: silent, stuck" }
            p.sub { "Alarms about the instruments. They say nothing of a machine, page nobody, and return by a reading alone." }
        }
        div #sensor-alarms data-live {
            @if answer.alarms.is_empty() { section.card { p { (view::icon("normal")) " Every sensor that was ever heard is heard." } } }
            @else { (table(&who, &answer.alarms)) }
            @if !answer.waiting.is_empty() { (waiting(&answer.waiting)) }
        }
    };
    Ok(page("Sensors", Nav::Sensors, &who, &body))
}

/// `POST /sensors/alarms/{id}/acknowledge`.
pub(crate) async fn acknowledge(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Note>,
) -> Result<Redirect, Failure> {
    let alarm_id = id
        .parse()
        .map_err(|_| Failure::NotFound(format!("sensor alarm {id:?}: not a number")))?;
    let request = AcknowledgeSensorAlarmRequest {
        alarm_id,
        note: form.note.trim().chars().take(NOTE_CHARS).collect(),
    };
    session
        .sensor_alarms()
        .acknowledge_sensor_alarm(request)
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to("/sensors"))
}

fn table(who: &WhoAmIResponse, alarms: &[SensorAlarm]) -> Markup {
    html! {
        div.table-frame {
            table.incidents {
                thead {
                    tr {
                        th scope="col" { "What" } th scope="col" { "Sensor" } th scope="col" { "Gateway" }
                        th scope="col" { "Since" } th scope="col" { "Returned" } th scope="col" { "Taken by" }
                    }
                }
                tbody { @for alarm in alarms { (row(who, alarm)) } }
            }
        }
    }
}

fn row(who: &WhoAmIResponse, alarm: &SensorAlarm) -> Markup {
    html! {
        tr {
            th scope="row" { (kind(&alarm.kind)) span.sub { (sensor_alarm_state(&alarm.state)) } }
            td data-label="sensor" {
                @if alarm.sensor.is_empty() { (alarm.gateway_sensors) " sensors" span.sub { (alarm.site) } }
                @else {
                    a href=(machine_href(&alarm.site, &alarm.machine)) { (alarm.machine) "/" (alarm.sensor) }
                    span.sub { (alarm.site) }
                }
            }
            td data-label="gateway" { @if alarm.gateway.is_empty() { span.none { "unknown" } } @else { (alarm.gateway) } }
            td data-label="since" { (moment_and_age(view::at(alarm.since))) }
            td data-label=[alarm.returned_at.is_some().then_some("returned")] {
                @if alarm.returned_at.is_some() { (moment(view::at(alarm.returned_at))) } @else { span.none { "not yet" } }
            }
            td data-label="taken by" { (taken(who, alarm)) }
        }
    }
}

fn taken(who: &WhoAmIResponse, alarm: &SensorAlarm) -> Markup {
    html! {
        @if !alarm.acknowledged_by.is_empty() { (alarm.acknowledged_by) }
        @else if may(who, PersonRole::Operator) {
            form method="post" action=(format!("/sensors/alarms/{}/acknowledge", alarm.alarm_id)) {
                input name="note" maxlength=(NOTE_CHARS) placeholder="Note (optional)" aria-label="Note for the record (optional)";
                button type="submit" { "Acknowledge" }
            }
        } @else { span.none { "nobody" } }
    }
}

fn kind(kind: &str) -> &str {
    match kind {
        "silent_sensor" => "Silent",
        "stuck_sensor" => "Stuck: the same spectrum again and again",
        "silent_gateway" => "Gateway silent",
        other => other,
    }
}

fn waiting(waiting: &[WaitingSensor]) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "Waiting for their first reading" } p.sub { "declared, and never heard: not silent, only not begun" } }
            ul {
                @for sensor in waiting {
                    li {
                        a href=(machine_href(&sensor.site, &sensor.machine)) { (sensor.machine) "/" (sensor.sensor) } " "
                        span.sub { (sensor.site) ", declared " (moment(view::at(sensor.created_at))) }
                    }
                }
            }
        }
    }
}
