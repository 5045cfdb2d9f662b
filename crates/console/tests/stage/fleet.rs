use tocsin_contracts::fleet::v1::fleet_service_server::FleetService;
use tocsin_contracts::fleet::v1::{
    CommissionSensorRequest, CommissionSensorResponse, CreateClassRequest, CreateClassResponse, CreateSensorRequest,
    CreateSensorResponse, CreateSiteRequest, CreateSiteResponse, CreateSpecRequest, CreateSpecResponse,
    ListClassesRequest, ListClassesResponse, ListMachinesRequest, ListMachinesResponse, ListSensorsRequest,
    ListSensorsResponse, ListSeverityZonesRequest, ListSeverityZonesResponse, ListSitesRequest, ListSitesResponse,
    ListSpecsRequest, ListSpecsResponse, MachineClass, MachineOverview, Sensor, SetBearingRequest, SetBearingResponse,
    SetCommissioningRulesRequest, SetCommissioningRulesResponse, SetSecondApprovalRequest, SetSecondApprovalResponse,
    SetSeverityZonesRequest, SetSeverityZonesResponse, Site, Spec,
};
use tonic::{Request, Response, Status};

use super::{Fixture, Fleet, noise, refuse};

const HOSTILE: &str = "<script>alert(1)</script>\"'&";

impl Fixture {
    fn sites(&self) -> Vec<Site> {
        let site = |name: &str, title: &str| Site {
            name: name.into(),
            title: title.into(),
            time_zone: "Europe/Lisbon".into(),
            second_approval: name == "porto",
            ..Site::default()
        };
        match self.fleet {
            Fleet::Empty => vec![],
            Fleet::Small => vec![site("lyon", "Lyon turbines"), site("porto", "Porto machining")],
            Fleet::Large => (1..=6)
                .map(|i| site(&format!("plant-{i}"), &format!("Plant {i}")))
                .collect(),
            Fleet::Hostile => vec![site("lyon", HOSTILE)],
        }
    }

    fn machines(&self) -> Vec<MachineOverview> {
        match self.fleet {
            Fleet::Empty => vec![],
            Fleet::Small => self.small(),
            Fleet::Large => (0..1200).map(|i| self.one_of_many(i)).collect(),
            Fleet::Hostile => vec![MachineOverview {
                class: HOSTILE.into(),
                verdict: HOSTILE.into(),
                incident_state: HOSTILE.into(),
                ..self.machine("lyon", HOSTILE, 3, "page", 41)
            }],
        }
    }

    fn machine(&self, site: &str, machine: &str, age_s: u64, verdict: &str, incident: i64) -> MachineOverview {
        MachineOverview {
            site: site.into(),
            machine: machine.into(),
            class: "cnc-spindle".into(),
            sensors: 2,
            newest_reading_at: self.ago(age_s),
            received_at: self.ago(age_s),
            verdict: verdict.into(),
            open_incident_id: incident,
            ..MachineOverview::default()
        }
    }

    fn small(&self) -> Vec<MachineOverview> {
        let troubled = |machine: MachineOverview, severity: &str, state: &str, level| MachineOverview {
            incident_severity: severity.into(),
            incident_state: state.into(),
            incident_level: level,
            ..machine
        };
        let mut machines = vec![
            troubled(
                self.machine("porto", "mill-07", 4, "page", 41),
                "page",
                self.state_of_41(),
                3.84,
            ),
            troubled(
                self.machine("lyon", "turbine-2", 9, "page", 39),
                "page",
                "active_acknowledged",
                2.31,
            ),
            troubled(
                self.machine("porto", "lathe-03", 6, "alert", 40),
                "alert",
                "active_unacknowledged",
                1.42,
            ),
            troubled(
                self.machine("lyon", "turbine-5", 12, "normal", 36),
                "alert",
                "returned_unacknowledged",
                0.38,
            ),
            self.machine("porto", "mill-02", 3 * 3600, "normal", 0),
            MachineOverview {
                newest_reading_at: None,
                received_at: None,
                ..self.machine("porto", "mill-11", 0, "", 0)
            },
            self.machine("lyon", "turbine-7", 8, "unjudged", 0),
            self.machine("porto", "mill-05", 7, "alert", 0),
        ];
        machines.extend((1..=9).map(|i| {
            self.machine(
                if i % 2 == 0 { "lyon" } else { "porto" },
                &format!("pump-{i:02}"),
                2 + i,
                "normal",
                0,
            )
        }));
        machines
    }

    fn one_of_many(&self, i: u64) -> MachineOverview {
        let machine = self.machine(
            &format!("plant-{}", 1 + i % 6),
            &format!("spindle-{i:04}"),
            1 + i % 10,
            "normal",
            0,
        );
        let dice = noise(7, i);
        let (severity, state) = match dice {
            d if d < 0.004 => ("page", "active_unacknowledged"),
            d if d < 0.007 => ("page", "active_acknowledged"),
            d if d < 0.02 => ("alert", "active_unacknowledged"),
            _ => ("", ""),
        };
        let verdict = if (0.02..0.03).contains(&dice) {
            "unjudged"
        } else {
            "normal"
        };
        let received_at = if (0.03..0.05).contains(&dice) {
            self.ago(7_200)
        } else {
            machine.received_at
        };
        MachineOverview {
            open_incident_id: if severity.is_empty() { 0 } else { 41 },
            incident_severity: severity.into(),
            incident_state: state.into(),
            incident_level: 1.0 + (dice * 1_000.0) as f32 % 3.0,
            verdict: verdict.into(),
            received_at,
            ..machine
        }
    }
}

#[tonic::async_trait]
impl FleetService for Fixture {
    async fn list_sites(&self, _: Request<ListSitesRequest>) -> Result<Response<ListSitesResponse>, Status> {
        Ok(Response::new(ListSitesResponse { sites: self.sites() }))
    }

    async fn list_classes(&self, _: Request<ListClassesRequest>) -> Result<Response<ListClassesResponse>, Status> {
        let class = MachineClass {
            name: "cnc-spindle".into(),
            step_ms: 10_000,
            ..MachineClass::default()
        };
        let classes = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            vec![class]
        };
        Ok(Response::new(ListClassesResponse { classes }))
    }

    async fn list_specs(&self, _: Request<ListSpecsRequest>) -> Result<Response<ListSpecsResponse>, Status> {
        let spec = Spec {
            name: "spindle-128".into(),
            definition_json: r#"{"axis":"hertz","bins":128}"#.into(),
        };
        let specs = if self.fleet == Fleet::Empty { vec![] } else { vec![spec] };
        Ok(Response::new(ListSpecsResponse { specs }))
    }

    async fn list_sensors(
        &self,
        request: Request<ListSensorsRequest>,
    ) -> Result<Response<ListSensorsResponse>, Status> {
        let ListSensorsRequest { site, machine } = request.into_inner();
        let sensor = |name: &str| Sensor {
            site: site.clone(),
            machine: machine.clone(),
            sensor: name.into(),
            device: "spindle".into(),
            ..Sensor::default()
        };
        Ok(Response::new(ListSensorsResponse {
            sensors: vec![sensor("horizontal"), sensor("vertical")],
        }))
    }

    async fn list_machines(
        &self,
        request: Request<ListMachinesRequest>,
    ) -> Result<Response<ListMachinesResponse>, Status> {
        let ListMachinesRequest { site, machine } = request.into_inner();
        let mut machines = self.machines();
        machines.retain(|one| (site.is_empty() || one.site == site) && (machine.is_empty() || one.machine == machine));
        Ok(Response::new(ListMachinesResponse { machines }))
    }

    async fn set_second_approval(
        &self,
        request: Request<SetSecondApprovalRequest>,
    ) -> Result<Response<SetSecondApprovalResponse>, Status> {
        let asked = request.into_inner();
        let asks = if asked.second_approval { "asks" } else { "does not ask" };
        self.order(format!("{} {asks} for a second person: {}", asked.site, asked.reason));
        Ok(Response::new(SetSecondApprovalResponse::default()))
    }

    refuse! {
        create_site, CreateSiteRequest, CreateSiteResponse;
        create_class, CreateClassRequest, CreateClassResponse;
        create_spec, CreateSpecRequest, CreateSpecResponse;
        create_sensor, CreateSensorRequest, CreateSensorResponse;
        commission_sensor, CommissionSensorRequest, CommissionSensorResponse;
        set_bearing, SetBearingRequest, SetBearingResponse;
        set_commissioning_rules, SetCommissioningRulesRequest, SetCommissioningRulesResponse;
        set_severity_zones, SetSeverityZonesRequest, SetSeverityZonesResponse;
        list_severity_zones, ListSeverityZonesRequest, ListSeverityZonesResponse;
    }
}
