//! Alarms about instruments over gRPC. No destination is told of them.

use serde_json::json;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::incidents::v1::sensor_alarms_service_server::SensorAlarmsService;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{Clock, PersonRole, Principal};
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::sensor_alarm::{SensorAlarm, SensorAlarmEvent, SensorAlarmQuery, WaitingSensor};
use tonic::{Request, Response, Status};

use crate::Error;
use crate::service::principal;
use crate::wire::{limit, name};

/// The longest note kept, in characters.
const NOTE_CHARS: usize = 2_000;

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct SensorAlarms {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

impl SensorAlarms {
    async fn list(
        &self,
        by: &Principal,
        asked: &v1::ListSensorAlarmsRequest,
    ) -> Result<v1::ListSensorAlarmsResponse, Error> {
        let query = SensorAlarmQuery {
            id: None,
            site: name("site", &asked.site)?,
            open_only: asked.open_only,
            before: (asked.before_alarm_id != 0).then_some(asked.before_alarm_id),
            limit: limit(asked.limit)?,
        };
        let alarms = self.store.sensor_alarm_list(&by.scope(), &query).await?;
        let waiting = if query.before.is_some() {
            Vec::new()
        } else {
            let site = query.site.as_ref();
            self.store.sensors_waiting(&by.scope(), site, query.limit).await?
        };
        Ok(v1::ListSensorAlarmsResponse {
            alarms: alarms.into_iter().map(wire).collect(),
            waiting: waiting.into_iter().map(wire_waiting).collect(),
        })
    }

    async fn get(&self, by: &Principal, id: i64) -> Result<v1::GetSensorAlarmResponse, Error> {
        let alarm = self.store.sensor_alarm_get(&by.scope(), id).await?;
        let events = self.store.sensor_alarm_events(&by.scope(), id).await?;
        Ok(v1::GetSensorAlarmResponse {
            alarm: Some(wire(alarm)),
            events: events.into_iter().map(wire_event).collect(),
        })
    }

    async fn acknowledge(&self, by: &Principal, id: i64, note: &str) -> Result<SensorAlarm, Error> {
        if note.chars().count() > NOTE_CHARS || note.contains('\0') {
            let reason = format!("must have at most {NOTE_CHARS} characters and no NUL");
            return Err(Malformed::new("note", reason).into());
        }
        let now = self.clock.now();
        let (scope, actor) = (by.scope(), by.actor());
        let words = (actor.as_str(), note.trim());
        let audit = |id: &i64| {
            let detail = json!({ "note": note.trim() });
            NewAuditEntry::new(
                &actor,
                "sensor_alarm.acknowledge",
                format!("sensor_alarm:{id}"),
                &detail,
            )
        };
        Ok(self
            .store
            .sensor_alarm_acknowledge(&scope, id, words, now, audit)
            .await?)
    }
}

#[tonic::async_trait]
impl SensorAlarmsService for SensorAlarms {
    #[tracing::instrument(skip_all)]
    async fn list_sensor_alarms(
        &self,
        request: Request<v1::ListSensorAlarmsRequest>,
    ) -> Result<Response<v1::ListSensorAlarmsResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "list sensor alarms")?;
        Ok(Response::new(self.list(&by, request.get_ref()).await?))
    }

    #[tracing::instrument(skip_all, fields(alarm = request.get_ref().alarm_id))]
    async fn get_sensor_alarm(
        &self,
        request: Request<v1::GetSensorAlarmRequest>,
    ) -> Result<Response<v1::GetSensorAlarmResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at sensor alarms")?;
        Ok(Response::new(self.get(&by, request.into_inner().alarm_id).await?))
    }

    #[tracing::instrument(skip_all, fields(alarm = request.get_ref().alarm_id))]
    async fn acknowledge_sensor_alarm(
        &self,
        request: Request<v1::AcknowledgeSensorAlarmRequest>,
    ) -> Result<Response<v1::AcknowledgeSensorAlarmResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "acknowledge sensor alarms")?;
        let v1::AcknowledgeSensorAlarmRequest { alarm_id, note } = request.into_inner();
        let alarm = self.acknowledge(&by, alarm_id, &note).await?;
        Ok(Response::new(v1::AcknowledgeSensorAlarmResponse {
            alarm: Some(wire(alarm)),
        }))
    }
}

fn wire(alarm: SensorAlarm) -> v1::SensorAlarm {
    let (machine, sensor) = alarm.sensor.unzip();
    let (acknowledged_by, acknowledged_at) = alarm.acknowledged.unzip();
    v1::SensorAlarm {
        alarm_id: alarm.id,
        kind: alarm.kind.as_str().to_owned(),
        state: alarm.state.as_str().to_owned(),
        site: alarm.site.into(),
        machine: machine.map(String::from).unwrap_or_default(),
        sensor: sensor.map(String::from).unwrap_or_default(),
        gateway: alarm.gateway.unwrap_or_default(),
        gateway_sensors: alarm.gateway_sensors,
        since: Some(time::to_wire(alarm.since)),
        raised_at: Some(time::to_wire(alarm.raised_at)),
        returned_at: alarm.returned_at.map(time::to_wire),
        acknowledged_at: acknowledged_at.map(time::to_wire),
        acknowledged_by: acknowledged_by.unwrap_or_default(),
    }
}

fn wire_waiting(waiting: WaitingSensor) -> v1::WaitingSensor {
    v1::WaitingSensor {
        site: waiting.site.into(),
        machine: waiting.machine.into(),
        sensor: waiting.sensor.into(),
        created_at: Some(time::to_wire(waiting.created_at)),
    }
}

fn wire_event(event: SensorAlarmEvent) -> v1::SensorAlarmEvent {
    v1::SensorAlarmEvent {
        at: Some(time::to_wire(event.at)),
        kind: event.kind,
        by: event.by.unwrap_or_default(),
        note: event.note,
    }
}
