use tocsin_contracts::incidents::v1::sensor_alarms_service_server::SensorAlarmsService;
use tocsin_contracts::incidents::v1::{
    AcknowledgeSensorAlarmRequest, AcknowledgeSensorAlarmResponse, GetSensorAlarmRequest, GetSensorAlarmResponse,
    ListSensorAlarmsRequest, ListSensorAlarmsResponse, SensorAlarm, WaitingSensor,
};
use tonic::{Request, Response, Status};

use super::{Fixture, Fleet, refuse};

impl Fixture {
    fn sensor_alarms(&self) -> Vec<SensorAlarm> {
        let alarm = |alarm_id: i64, kind: &str, state: &str, age_s: u64| SensorAlarm {
            alarm_id,
            kind: kind.into(),
            state: state.into(),
            site: "porto".into(),
            gateway: "gateway-1".into(),
            since: self.ago(age_s),
            raised_at: self.ago(age_s - 60),
            ..SensorAlarm::default()
        };
        let of = |machine: &str, alarm: SensorAlarm| SensorAlarm {
            machine: machine.into(),
            sensor: "vertical".into(),
            ..alarm
        };
        vec![
            SensorAlarm {
                gateway_sensors: 12,
                ..alarm(3, "silent_gateway", "active_unacknowledged", 400)
            },
            of(
                "mill-07",
                SensorAlarm {
                    acknowledged_by: "olga".into(),
                    ..alarm(2, "stuck_sensor", "active_acknowledged", 4_000)
                },
            ),
            of(
                if self.fleet == Fleet::Hostile {
                    "<script>alert(1)"
                } else {
                    "lathe-03"
                },
                SensorAlarm {
                    returned_at: self.ago(100),
                    ..alarm(1, "silent_sensor", "returned_unacknowledged", 9_000)
                },
            ),
        ]
    }
}

#[tonic::async_trait]
impl SensorAlarmsService for Fixture {
    async fn list_sensor_alarms(
        &self,
        _: Request<ListSensorAlarmsRequest>,
    ) -> Result<Response<ListSensorAlarmsResponse>, Status> {
        if self.fleet == Fleet::Empty {
            return Ok(Response::new(ListSensorAlarmsResponse::default()));
        }
        let waiting = WaitingSensor {
            site: "porto".into(),
            machine: "mill-11".into(),
            sensor: "vertical".into(),
            created_at: self.ago(90_000),
        };
        Ok(Response::new(ListSensorAlarmsResponse {
            alarms: self.sensor_alarms(),
            waiting: vec![waiting],
        }))
    }

    async fn acknowledge_sensor_alarm(
        &self,
        request: Request<AcknowledgeSensorAlarmRequest>,
    ) -> Result<Response<AcknowledgeSensorAlarmResponse>, Status> {
        let id = request.into_inner().alarm_id;
        let alarm = self.sensor_alarms().into_iter().find(|alarm| alarm.alarm_id == id);
        match alarm {
            Some(alarm) if alarm.acknowledged_by.is_empty() => {
                Ok(Response::new(AcknowledgeSensorAlarmResponse { alarm: Some(alarm) }))
            }
            Some(_) => Err(Status::failed_precondition("it was acknowledged already")),
            None => Err(Status::not_found(format!("sensor alarm {id}"))),
        }
    }

    refuse! {
        get_sensor_alarm, GetSensorAlarmRequest, GetSensorAlarmResponse;
    }
}
