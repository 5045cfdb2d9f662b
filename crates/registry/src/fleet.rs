//! `fleet.v1`: sites, classes, specs, sensors, and the machines that need attention.
//!
//! Sites are made by administrators; classes, specs and sensors by engineers. What holds for every site (sites, classes,
//! specs) is made by those who see them all. People list, gateways don't, and they see the sites of their scope alone:
//! another site's name is not found, whether it exists or not. A sensor is commissioned anew by an engineer of its site.

mod attention;
mod bearing;
mod commissioning;
mod wire;
mod zones;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tocsin_contracts::Malformed;
use tocsin_contracts::fleet::v1::fleet_service_server::FleetService;
use tocsin_contracts::fleet::v1::{
    CommissionSensorRequest, CommissionSensorResponse, CreateClassRequest, CreateClassResponse, CreateSensorRequest,
    CreateSensorResponse, CreateSiteRequest, CreateSiteResponse, CreateSpecRequest, CreateSpecResponse,
    ListClassesRequest, ListClassesResponse, ListMachinesRequest, ListMachinesResponse, ListSensorsRequest,
    ListSensorsResponse, ListSeverityZonesRequest, ListSeverityZonesResponse, ListSitesRequest, ListSitesResponse,
    ListSpecsRequest, ListSpecsResponse, MachineClass as WireClass, MachineOverview as WireMachine,
    Sensor as WireSensor, SetBearingRequest, SetBearingResponse, SetCommissioningRulesRequest,
    SetCommissioningRulesResponse, SetSecondApprovalRequest, SetSecondApprovalResponse, SetSeverityZonesRequest,
    SetSeverityZonesResponse, Site as WireSite, Spec as WireSpec,
};
use tocsin_domain::fleet::{MachineClass, Site};
use tocsin_domain::{PersonRole, Principal, Scope, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::{MachineQuery, NamedSpec, NewClass, SensorListing};
use tonic::{Request, Response, Status};

use crate::Error;
use crate::context::{Context, caller};

/// Settings of what is shown of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A machine of which nothing was received for so many seconds is silent, and listed before the healthy ones.
    pub silent_after_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { silent_after_s: 600 }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub struct Fleet {
    context: Context,
    silent_after: Duration,
}

impl Fleet {
    pub(crate) fn new(config: &Config, context: Context) -> Self {
        Self {
            context,
            silent_after: Duration::from_secs(config.silent_after_s),
        }
    }

    async fn make_site(&self, principal: &Principal, site: Option<WireSite>) -> Result<WireSite, Error> {
        principal.require_everywhere(PersonRole::Admin, "make sites")?;
        let new = wire::new_site(site.ok_or_else(|| Malformed::new("site", "is missing"))?)?;
        let audit = |site: &Site| {
            let detail = json!({
                "oldest_s": site.oldest.as_secs(), "furthest_s": site.furthest.as_secs(), "cap": site.auto_register_cap,
                "longest_shelf_s": site.longest_shelf.as_secs(), "second_approval": site.second_approval,
            });
            NewAuditEntry::new(principal.actor(), "site.create", &site.name, &detail)
        };
        let store = &self.context.store;
        Ok(wire::site(store.site_create(&new, self.context.now(), audit).await?))
    }

    /// An administrator of the site says whether it asks for a second person.
    async fn set_second(&self, principal: &Principal, request: SetSecondApprovalRequest) -> Result<WireSite, Error> {
        principal.require(
            PersonRole::Admin,
            "set whether alarm limits need a second person's approval",
        )?;
        let name = Slug::parse("site", &request.site)?;
        let reason = commissioning::reason(request.reason)?;
        let asks = request.second_approval;
        let audit = |site: &Site| {
            let detail = json!({ "second_approval": asks, "reason": reason });
            NewAuditEntry::new(principal.actor(), "site.set_second_approval", &site.name, &detail)
        };
        let (scope, now) = (principal.scope(), self.context.now());
        let store = &self.context.store;
        Ok(wire::site(
            store
                .site_set_second_approval(&scope, (&name, asks), now, audit)
                .await?,
        ))
    }

    async fn make_class(&self, principal: &Principal, class: Option<WireClass>) -> Result<WireClass, Error> {
        principal.require_everywhere(PersonRole::Engineer, "make classes")?;
        let class = class.ok_or_else(|| Malformed::new("class", "is missing"))?;
        let (name, step) = wire::new_class(&class)?;
        let rules = class.commissioning.map(commissioning::rules).transpose()?;
        let rules = rules.unwrap_or_default();
        let zones = zones::parse(class.severity.unwrap_or_default().zones)?;
        let detail = json!({
            "step_ms": step.as_millis() as u64, "commissioning": commissioning::detail(rules), "zones": zones,
        });
        let audit = |class: &MachineClass| NewAuditEntry::new(principal.actor(), "class.create", &class.name, &detail);
        let new = NewClass {
            name,
            step,
            rules,
            zones: (!zones.0.is_empty()).then(|| (zones, principal.actor())),
        };
        let made = self.context.store.class_create(&new, self.context.now(), audit).await?;
        self.class_shown(made).await
    }

    async fn make_spec(&self, principal: &Principal, spec: Option<WireSpec>) -> Result<WireSpec, Error> {
        principal.require_everywhere(PersonRole::Engineer, "make specs")?;
        let (name, spec) = wire::new_spec(&spec.ok_or_else(|| Malformed::new("spec", "is missing"))?)?;
        let audit = |named: &NamedSpec| {
            let detail = json!({ "definition": named.spec });
            NewAuditEntry::new(principal.actor(), "spec.create", &named.name, &detail)
        };
        let store = &self.context.store;
        let named = store.spec_create(&name, &spec, self.context.now(), audit).await?;
        Ok(wire::spec(&named))
    }

    async fn make_sensor(&self, principal: &Principal, sensor: Option<WireSensor>) -> Result<WireSensor, Error> {
        principal.require(PersonRole::Engineer, "declare sensors")?;
        let new = wire::new_sensor(&sensor.ok_or_else(|| Malformed::new("sensor", "is missing"))?)?;
        let audit = |made: &SensorListing| {
            let detail = json!({ "class": made.class, "spec": made.spec, "device": made.device });
            let subject = format!("{}/{}/{}", made.site, made.machine, made.name);
            NewAuditEntry::new(principal.actor(), "sensor.create", subject, &detail)
        };
        let (scope, now) = (principal.scope(), self.context.now());
        let listing = self.context.store.sensor_create(&scope, &new, now, audit).await?;
        Ok(self.shown(&scope, vec![listing]).await?.remove(0))
    }

    /// The site named in a query, which must be in `scope`; none when the name is empty.
    async fn site_asked_for(&self, scope: &Scope, name: &str) -> Result<Option<Slug>, Error> {
        match optional_name("site", name)? {
            None => Ok(None),
            Some(name) => Ok(Some(self.context.store.site_by_name(scope, &name).await?.name)),
        }
    }

    async fn sensors(&self, principal: &Principal, query: ListSensorsRequest) -> Result<Vec<WireSensor>, Error> {
        let scope = principal.scope();
        let site = self.site_asked_for(&scope, &query.site).await?;
        let machine = optional_name("machine", &query.machine)?;
        let sensors = self
            .context
            .store
            .sensor_list(&scope, site.as_ref(), machine.as_ref())
            .await?;
        self.shown(&scope, sensors).await
    }

    async fn machines(&self, principal: &Principal, query: ListMachinesRequest) -> Result<Vec<WireMachine>, Error> {
        let scope = principal.scope();
        let site = self.site_asked_for(&scope, &query.site).await?;
        let machine = optional_name("machine", &query.machine)?;
        let query = MachineQuery { site, machine };
        let mut machines = self.context.store.machine_overviews(&scope, &query).await?;
        attention::sort(&mut machines, self.context.now(), self.silent_after);
        Ok(machines.into_iter().map(wire::machine).collect())
    }
}

/// A name in a query, where the empty text means any.
fn optional_name(field: &str, text: &str) -> Result<Option<Slug>, Error> {
    if text.is_empty() {
        Ok(None)
    } else {
        Ok(Some(Slug::parse(field, text)?))
    }
}

/// Who lists: a person, or one of Tocsin's own roles.
fn viewer<T>(request: &Request<T>, action: &'static str) -> Result<Principal, Error> {
    let principal = caller(request)?;
    principal.require(PersonRole::Viewer, action)?;
    Ok(principal)
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn create_site(&self, request: Request<CreateSiteRequest>) -> Result<Response<CreateSiteResponse>, Status> {
        let principal = caller(&request)?;
        let site = self.make_site(&principal, request.into_inner().site).await?;
        Ok(Response::new(CreateSiteResponse { site: Some(site) }))
    }

    async fn list_sites(&self, request: Request<ListSitesRequest>) -> Result<Response<ListSitesResponse>, Status> {
        let scope = viewer(&request, "list sites")?.scope();
        let sites = self.context.store.site_list(&scope).await.map_err(Error::from)?;
        Ok(Response::new(ListSitesResponse {
            sites: sites.into_iter().map(wire::site).collect(),
        }))
    }

    async fn set_second_approval(
        &self,
        request: Request<SetSecondApprovalRequest>,
    ) -> Result<Response<SetSecondApprovalResponse>, Status> {
        let principal = caller(&request)?;
        let site = self.set_second(&principal, request.into_inner()).await?;
        Ok(Response::new(SetSecondApprovalResponse { site: Some(site) }))
    }

    async fn create_class(
        &self,
        request: Request<CreateClassRequest>,
    ) -> Result<Response<CreateClassResponse>, Status> {
        let principal = caller(&request)?;
        let class = self.make_class(&principal, request.into_inner().class).await?;
        Ok(Response::new(CreateClassResponse { class: Some(class) }))
    }

    async fn list_classes(
        &self,
        request: Request<ListClassesRequest>,
    ) -> Result<Response<ListClassesResponse>, Status> {
        viewer(&request, "list classes")?;
        let classes = self.context.store.class_list().await.map_err(Error::from)?;
        let classes = self.classes_shown(classes).await?;
        Ok(Response::new(ListClassesResponse { classes }))
    }

    async fn create_spec(&self, request: Request<CreateSpecRequest>) -> Result<Response<CreateSpecResponse>, Status> {
        let principal = caller(&request)?;
        let spec = self.make_spec(&principal, request.into_inner().spec).await?;
        Ok(Response::new(CreateSpecResponse { spec: Some(spec) }))
    }

    async fn list_specs(&self, request: Request<ListSpecsRequest>) -> Result<Response<ListSpecsResponse>, Status> {
        viewer(&request, "list specs")?;
        let specs = self.context.store.spec_list().await.map_err(Error::from)?;
        Ok(Response::new(ListSpecsResponse {
            specs: specs.iter().map(wire::spec).collect(),
        }))
    }

    async fn create_sensor(
        &self,
        request: Request<CreateSensorRequest>,
    ) -> Result<Response<CreateSensorResponse>, Status> {
        let principal = caller(&request)?;
        let sensor = self.make_sensor(&principal, request.into_inner().sensor).await?;
        Ok(Response::new(CreateSensorResponse { sensor: Some(sensor) }))
    }

    async fn list_sensors(
        &self,
        request: Request<ListSensorsRequest>,
    ) -> Result<Response<ListSensorsResponse>, Status> {
        let principal = viewer(&request, "list sensors")?;
        let sensors = self.sensors(&principal, request.into_inner()).await?;
        Ok(Response::new(ListSensorsResponse { sensors }))
    }

    async fn set_commissioning_rules(
        &self,
        request: Request<SetCommissioningRulesRequest>,
    ) -> Result<Response<SetCommissioningRulesResponse>, Status> {
        let principal = caller(&request)?;
        let class = self.set_rules(&principal, request.into_inner()).await?;
        Ok(Response::new(SetCommissioningRulesResponse { class: Some(class) }))
    }

    async fn set_severity_zones(
        &self,
        request: Request<SetSeverityZonesRequest>,
    ) -> Result<Response<SetSeverityZonesResponse>, Status> {
        let principal = caller(&request)?;
        let class = self.set_zones(&principal, request.into_inner()).await?;
        Ok(Response::new(SetSeverityZonesResponse { class: Some(class) }))
    }

    async fn list_severity_zones(
        &self,
        request: Request<ListSeverityZonesRequest>,
    ) -> Result<Response<ListSeverityZonesResponse>, Status> {
        viewer(&request, "look at severity zones")?;
        let versions = self.zones_versions(&request.into_inner().class).await?;
        Ok(Response::new(ListSeverityZonesResponse { versions }))
    }

    async fn commission_sensor(
        &self,
        request: Request<CommissionSensorRequest>,
    ) -> Result<Response<CommissionSensorResponse>, Status> {
        let principal = caller(&request)?;
        let sensor = self.commission(&principal, request.into_inner()).await?;
        Ok(Response::new(CommissionSensorResponse { sensor: Some(sensor) }))
    }

    async fn set_bearing(&self, request: Request<SetBearingRequest>) -> Result<Response<SetBearingResponse>, Status> {
        let principal = caller(&request)?;
        Ok(Response::new(self.set_bearing(&principal, request.into_inner()).await?))
    }

    async fn list_machines(
        &self,
        request: Request<ListMachinesRequest>,
    ) -> Result<Response<ListMachinesResponse>, Status> {
        let principal = viewer(&request, "list machines")?;
        let machines = self.machines(&principal, request.into_inner()).await?;
        Ok(Response::new(ListMachinesResponse { machines }))
    }
}
