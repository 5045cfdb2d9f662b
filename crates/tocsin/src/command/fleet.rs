//! `tocsin sites`, `classes`, `specs`, `sensors` and `machines`: the fleet's assets.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    CreateSiteRequest, CreateSpecRequest, ListMachinesRequest, ListSitesRequest, ListSpecsRequest, MachineOverview,
    SetSecondApprovalRequest, Site, Spec,
};

use super::{Ask, duration, given, labels, nested, suppressions, when};
use crate::client::explain;

mod alarms;
mod classes;
mod drift;
mod sensors;

pub(super) use classes::Classes;
pub(super) use sensors::Sensors;

#[derive(Debug, Args)]
pub(super) struct Sites {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: SiteCommand,
}

#[derive(Debug, Subcommand)]
enum SiteCommand {
    /// Declare a site
    Create(NewSite),
    /// List sites
    List,
    /// Set whether alarm limits that one person asked for need another's approval before they judge the site's machines
    SecondApproval {
        /// The site
        site: String,
        /// Whether it asks for it
        #[arg(value_enum)]
        asks: Asks,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
}

/// Whether a site asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Asks {
    On,
    Off,
}

#[derive(Debug, Args)]
struct NewSite {
    /// Its name: 1 to 63 of a-z, 0-9, '-', '_' and '.'
    name: String,
    /// The name on screen [default: the name]
    #[arg(long)]
    title: Option<String>,
    /// IANA time zone
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// Oldest capture time taken, before now [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    oldest: Option<Duration>,
    /// Furthest capture time taken, after now [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    furthest: Option<Duration>,
    /// The most sensors that gateways may register by themselves
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    auto_register_cap: u32,
    /// The longest that people may shelve a machine at once [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    longest_shelf: Option<Duration>,
    /// Alarm limits that one person asked for need another's approval before they judge the site's machines
    #[arg(long)]
    second_approval: bool,
}

impl Sites {
    pub(super) async fn run(self) -> Result<()> {
        let mut client = FleetServiceClient::new(self.ask.target.channel()?);
        match self.what {
            SiteCommand::Create(new) => {
                let site = Site {
                    title: new.title.unwrap_or_else(|| new.name.clone()),
                    name: new.name,
                    time_zone: new.time_zone,
                    oldest_s: new.oldest.map_or(0, |length| length.as_secs()),
                    furthest_s: new.furthest.map_or(0, |length| length.as_secs()),
                    auto_register_cap: new.auto_register_cap,
                    longest_shelf_s: new.longest_shelf.map_or(0, |length| length.as_secs()),
                    second_approval: new.second_approval,
                };
                let answer = client.create_site(CreateSiteRequest { site: Some(site) }).await;
                let answer = answer
                    .map_err(|status| explain("declaring the site", &status))?
                    .into_inner();
                self.ask.output.item("site", site_view(answer.site.unwrap_or_default()))
            }
            SiteCommand::List => {
                let answer = client.list_sites(ListSitesRequest {}).await;
                let sites = answer
                    .map_err(|status| explain("listing sites", &status))?
                    .into_inner()
                    .sites;
                let columns = &[
                    "name",
                    "title",
                    "time_zone",
                    "oldest_s",
                    "furthest_s",
                    "auto_register_cap",
                    "longest_shelf_s",
                    "second_approval",
                ];
                self.ask
                    .output
                    .list("sites", sites.into_iter().map(site_view).collect(), columns)
            }
            SiteCommand::SecondApproval { site, asks, reason } => {
                let request = SetSecondApprovalRequest {
                    site,
                    second_approval: asks == Asks::On,
                    reason,
                };
                let answer = client.set_second_approval(request).await;
                let answer = answer
                    .map_err(|status| explain("setting whether the site asks for a second person", &status))?
                    .into_inner();
                self.ask.output.item("site", site_view(answer.site.unwrap_or_default()))
            }
        }
    }
}

fn site_view(site: Site) -> Value {
    json!({
        "name": site.name,
        "title": site.title,
        "time_zone": site.time_zone,
        "oldest_s": site.oldest_s,
        "furthest_s": site.furthest_s,
        "auto_register_cap": site.auto_register_cap,
        "longest_shelf_s": site.longest_shelf_s,
        "second_approval": site.second_approval,
    })
}

#[derive(Debug, Args)]
pub(super) struct Specs {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: SpecCommand,
}

#[derive(Debug, Subcommand)]
enum SpecCommand {
    /// Declare a spectrum specification
    Create {
        /// Its name
        name: String,
        /// JSON file: axis, bins, quantity, unit, amplitude and the rest
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List specifications
    List,
}

impl Specs {
    pub(super) async fn run(self) -> Result<()> {
        let mut client = FleetServiceClient::new(self.ask.target.channel()?);
        let view = |spec: Spec| json!({ "name": spec.name, "definition": nested(&spec.definition_json) });
        match self.what {
            SpecCommand::Create { name, file } => {
                let definition_json =
                    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
                let spec = Spec { name, definition_json };
                let answer = client.create_spec(CreateSpecRequest { spec: Some(spec) }).await;
                let answer = answer
                    .map_err(|status| explain("declaring the specification", &status))?
                    .into_inner();
                self.ask.output.item("spec", view(answer.spec.unwrap_or_default()))
            }
            SpecCommand::List => {
                let answer = client.list_specs(ListSpecsRequest {}).await;
                let specs = answer
                    .map_err(|status| explain("listing specifications", &status))?
                    .into_inner()
                    .specs;
                self.ask
                    .output
                    .list("specs", specs.into_iter().map(view).collect(), &["name", "definition"])
            }
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Machines {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: MachineCommand,
}

#[derive(Debug, Subcommand)]
enum MachineCommand {
    /// List machines and what is known of them now
    List {
        /// Only this site
        #[arg(long, default_value = "", hide_default_value = true)]
        site: String,
    },
    /// Say what a machine had in a time; what is learned later heeds it
    Label(labels::LabelWindow),
    /// List what was said of a machine, newest first
    Labels {
        /// SITE/MACHINE
        path: String,
    },
    /// Keep a machine's pages from people for a while: it is known, and not for now
    Shelve(suppressions::Shelve),
    /// Keep a machine's pages from people while it is worked on: its readings teach nothing either
    OutOfService(suppressions::Order),
    /// Return a machine to service before its time; what was kept is sent if it is still so
    Return {
        /// SITE/MACHINE
        path: String,
    },
    /// List machines that are shelved or out of service, or show one with the pages it kept
    Suppressed(suppressions::Suppressed),
}

impl Machines {
    pub(super) async fn run(self) -> Result<()> {
        let site = match self.what {
            MachineCommand::List { site } => site,
            MachineCommand::Label(label) => return label.run(&self.ask).await,
            MachineCommand::Labels { path } => return labels::list(&self.ask, &path).await,
            MachineCommand::Shelve(shelve) => return shelve.run(&self.ask).await,
            MachineCommand::OutOfService(order) => return order.out_of_service(&self.ask).await,
            MachineCommand::Return { path } => return suppressions::restore(&self.ask, &path).await,
            MachineCommand::Suppressed(suppressed) => return suppressed.run(&self.ask).await,
        };
        let mut client = FleetServiceClient::new(self.ask.target.channel()?);
        let answer = client
            .list_machines(ListMachinesRequest {
                site,
                machine: String::new(),
            })
            .await;
        let machines = answer
            .map_err(|status| explain("listing machines", &status))?
            .into_inner()
            .machines;
        let views = machines.into_iter().map(machine_view).collect::<Result<_>>()?;
        let columns = &[
            "site",
            "machine",
            "class",
            "sensors",
            "newest_reading_at",
            "verdict",
            "incident_id",
            "incident_severity",
        ];
        self.ask.output.list("machines", views, columns)
    }
}

fn machine_view(machine: MachineOverview) -> Result<Value> {
    Ok(json!({
        "site": machine.site,
        "machine": machine.machine,
        "class": machine.class,
        "sensors": machine.sensors,
        "newest_reading_at": when(machine.newest_reading_at)?,
        "received_at": when(machine.received_at)?,
        "verdict": given(machine.verdict),
        "incident_id": given(machine.open_incident_id),
        "incident_severity": given(machine.incident_severity),
        "incident_state": given(machine.incident_state),
        "incident_level": given(machine.incident_level),
    }))
}
