//! `tocsin sensors alarms`, `alarm` and `acknowledge-alarm`: what is silent or stuck.

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::sensor_alarms_service_client::SensorAlarmsServiceClient;
use tocsin_contracts::incidents::v1::{
    AcknowledgeSensorAlarmRequest, GetSensorAlarmRequest, ListSensorAlarmsRequest, SensorAlarm,
};

use crate::client::explain;
use crate::command::{Ask, given, when};

#[derive(Debug, Subcommand)]
pub(super) enum AlarmCommand {
    /// List sensors that are silent or stuck and gateways that are silent, newest first, and sensors that were never heard
    Alarms {
        /// Only this site
        #[arg(long, default_value = "", hide_default_value = true)]
        site: String,
        /// Also those that returned and were acknowledged
        #[arg(long)]
        all: bool,
        /// At most this many, up to 1000
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only those before this one, for the next page
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        before: i64,
    },
    /// Show one such alarm with all that happened to it
    Alarm {
        /// Its number
        alarm: i64,
    },
    /// Take such an alarm
    AcknowledgeAlarm {
        /// Its number
        alarm: i64,
        /// A note for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
}

const COLUMNS: &[&str] = &[
    "alarm_id",
    "kind",
    "state",
    "site",
    "machine",
    "sensor",
    "gateway",
    "since",
    "acknowledged_by",
];

impl AlarmCommand {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let mut client = SensorAlarmsServiceClient::new(ask.target.channel()?);
        match self {
            Self::Alarms {
                site,
                all,
                limit,
                before,
            } => {
                let request = ListSensorAlarmsRequest {
                    site,
                    open_only: !all,
                    limit,
                    before_alarm_id: before,
                };
                let answer = client.list_sensor_alarms(request).await;
                let answer = answer
                    .map_err(|status| explain("listing sensor alarms", &status))?
                    .into_inner();
                let alarms = answer.alarms.into_iter().map(view);
                let waiting = answer.waiting.into_iter().map(|waiting| {
                    Ok(json!({
                        "alarm_id": null, "kind": "waiting", "state": "waiting for its first reading",
                        "site": waiting.site, "machine": waiting.machine, "sensor": waiting.sensor, "gateway": null,
                        "since": when(waiting.created_at)?, "acknowledged_by": null,
                    }))
                });
                let views = alarms.chain(waiting).collect::<Result<_>>()?;
                ask.output.list("alarms", views, COLUMNS)
            }
            Self::Alarm { alarm } => {
                let answer = client.get_sensor_alarm(GetSensorAlarmRequest { alarm_id: alarm }).await;
                let answer = answer
                    .map_err(|status| explain("showing the sensor alarm", &status))?
                    .into_inner();
                let events = answer.events.into_iter().map(|event| {
                    Ok(json!({
                        "at": when(event.at)?, "kind": event.kind, "by": given(event.by), "note": given(event.note),
                    }))
                });
                let events: Vec<Value> = events.collect::<Result<_>>()?;
                let mut view = view(answer.alarm.context("the answer holds no alarm")?)?;
                view["events"] = events.into();
                ask.output.item("alarm", view)
            }
            Self::AcknowledgeAlarm { alarm, note } => {
                let request = AcknowledgeSensorAlarmRequest { alarm_id: alarm, note };
                let answer = client.acknowledge_sensor_alarm(request).await;
                let answer = answer
                    .map_err(|status| explain("acknowledging the sensor alarm", &status))?
                    .into_inner();
                ask.output
                    .item("alarm", view(answer.alarm.context("the answer holds no alarm")?)?)
            }
        }
    }
}

fn view(alarm: SensorAlarm) -> Result<Value> {
    Ok(json!({
        "alarm_id": alarm.alarm_id,
        "kind": alarm.kind,
        "state": alarm.state,
        "site": alarm.site,
        "machine": given(alarm.machine),
        "sensor": given(alarm.sensor),
        "gateway": given(alarm.gateway),
        "gateway_sensors": given(alarm.gateway_sensors),
        "since": when(alarm.since)?,
        "raised_at": when(alarm.raised_at)?,
        "returned_at": when(alarm.returned_at)?,
        "acknowledged_at": when(alarm.acknowledged_at)?,
        "acknowledged_by": given(alarm.acknowledged_by),
    }))
}
