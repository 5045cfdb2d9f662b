//! Who did what: every RPC that changes something is called, and leaves an entry with its caller's name, or fails where it
//! can't.
//!
//! What the lists here don't know is found in the descriptors, so a new RPC has to be put in one of them.

mod models;
mod people;
mod record;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use tocsin::publish::Publisher;
use tocsin_contracts::access::v1 as access;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::fleet::v1 as fleet;
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::methods;
use tocsin_tests::stage::{CLASS, SPEC};
use tocsin_tests::{Fleet, Plant};
use tocsin_transport::auth::Token;

use record::{Record, Rpc, path};

const ACCESS: &str = "access.v1.AccessService";
const FLEET: &str = "fleet.v1.FleetService";

/// Who makes the calls, and with which password.
const ANA: &str = "ana";
const PASSWORD: &str = "a long password of ana's";

/// A site that the calls make.
const ANNEX: &str = "annex";

/// They change nothing.
const READING: [Rpc; 53] = [
    (ACCESS, "WhoAmI"),
    (ACCESS, "ListSignInMethods"),
    // Nobody yet: a stranger is sent to the provider.
    (ACCESS, "BeginOidcSignIn"),
    (ACCESS, "ListAccounts"),
    (ACCESS, "ListTokens"),
    (ACCESS, "ListAudit"),
    (ACCESS, "VerifyAudit"),
    (FLEET, "ListSites"),
    (FLEET, "ListClasses"),
    (FLEET, "ListSeverityZones"),
    (FLEET, "ListSpecs"),
    (FLEET, "ListSensors"),
    (FLEET, "ListMachines"),
    (people::INCIDENTS, "ListIncidents"),
    (people::INCIDENTS, "GetIncident"),
    (people::INCIDENTS, "WatchIncidents"),
    (people::INCIDENTS, "ListLabels"),
    (people::INCIDENTS, "ListIncidentFilters"),
    (people::INCIDENTS, "ListDestinations"),
    (people::INCIDENTS, "ListDeliveries"),
    (people::INCIDENTS, "ListSuppressions"),
    (people::INCIDENTS, "GetSuppression"),
    (people::INCIDENTS, "ListFloods"),
    (people::INCIDENTS, "GetFlood"),
    (people::INCIDENTS, "GetAcknowledgeLink"),
    (people::INCIDENTS, "GetPagePicture"),
    (people::SENSOR_ALARMS, "ListSensorAlarms"),
    (people::SENSOR_ALARMS, "GetSensorAlarm"),
    (models::RECALIBRATOR, "ListThresholdSets"),
    (models::RECALIBRATOR, "GetThresholdSet"),
    (models::RECALIBRATOR, "ListDrift"),
    (models::RECALIBRATOR, "WhatIf"),
    (models::RECALIBRATOR, "Explain"),
    (models::REGISTRY, "ListBundles"),
    (models::REGISTRY, "GetBundle"),
    (models::REGISTRY, "DownloadBundle"),
    (models::REGISTRY, "ListBindings"),
    (models::REGISTRY, "WatchBindings"),
    (models::TRAINING, "ListTrainingJobs"),
    (models::TRAINING, "CompareModels"),
    ("review.v1.ReviewService", "GetMachineSeries"),
    ("review.v1.ReviewService", "GetSpectrogram"),
    ("review.v1.ReviewService", "GetVerdict"),
    ("review.v1.ReviewService", "ExplainVerdict"),
    ("review.v1.ReviewService", "VerifyVerdicts"),
    ("review.v1.ReviewService", "WatchReadings"),
    ("review.v1.ReviewService", "GetAlarmPerformance"),
    ("review.v1.ReviewService", "GetIncidentReview"),
    ("review.v1.ReviewService", "ExportIncidentReview"),
    ("review.v1.ReviewService", "GetArchive"),
    ("scorer.v1.ScorerService", "Score"),
    ("scorer.v1.ScorerService", "Reconstruct"),
    // Judges and stores readings that `Publish` took: as below.
    ("ensemble.v1.EnsembleService", "Assess"),
];

/// Readings are their own record, and what becomes of them is in their machines' journals. A sensor that comes with them is a
/// change like any other.
const PUBLISH: Rpc = ("ingest.v1.IngestService", "Publish");

/// Needs a provider: what it leaves is told with one, in `oidc.rs`.
const BY_PROVIDER: Rpc = (ACCESS, "CompleteOidcSignIn");

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_that_changes_something_leaves_an_entry_and_the_chain_holds() -> Result<()> {
    let (secrets, outside) = (tempfile::tempdir()?, people::Outside::start().await?);
    let mut fleet = Fleet::start_with(|config| outside.settings(secrets.path(), &mut config.pager)).await?;
    let mut record = Record::of(&fleet.stage).await?;
    sign_in(&fleet, &mut record).await?;
    declare(&mut record).await?;
    let gateway = gateway(&mut record).await?;
    let mut publisher = auto_register(&fleet, &mut record, &gateway).await?;
    people::act(&fleet, &mut record, &outside, &mut publisher).await?;
    models::baselines(&mut fleet, &mut record).await?;
    models::bundles(&fleet, &mut record).await?;
    leave(&mut record, &gateway).await?;

    let reading: BTreeSet<String> = READING.into_iter().map(path).collect();
    let both: Vec<&String> = reading.intersection(&record.audited).collect();
    assert!(both.is_empty(), "in both lists: {both:?}");
    let mut listed: BTreeSet<String> = reading.union(&record.audited).cloned().collect();
    listed.insert(path(BY_PROVIDER));
    assert_eq!(listed, methods().into_iter().collect::<BTreeSet<_>>());
    let whole = fleet.stage.ask(&["audit", "verify"]).await?["audit"].clone();
    assert_eq!(whole["intact"], true, "{whole:#}");
    fleet.stage.stop().await
}

/// The first administrator is made by the deployment itself.
async fn sign_in(fleet: &Fleet, record: &mut Record) -> Result<()> {
    AccessServiceClient::new(fleet.stage.running.service_channel())
        .create_account(account(ANA, "admin"))
        .await?;
    let request = access::SignInRequest {
        name: ANA.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let rpc = (ACCESS, "SignIn");
    let answer: access::SignInResponse = record.of_call(rpc, (ANA, "session.begin"), &[request]).await?;
    record.session = Some(answer.session);
    let rpc = (ACCESS, "CreateAccount");
    let bob = account("bob", "operator");
    record
        .of_call::<access::CreateAccountResponse>(rpc, (ANA, "account.create"), &[bob])
        .await?;
    Ok(())
}

fn account(name: &str, role: &str) -> access::CreateAccountRequest {
    let account = access::Account {
        name: name.to_owned(),
        role: role.to_owned(),
        all_sites: true,
        ..access::Account::default()
    };
    access::CreateAccountRequest {
        account: Some(account),
        password: PASSWORD.to_owned(),
    }
}

/// What is disabled, revoked and ended, the session last.
async fn leave(record: &mut Record, gateway: &access::CreateTokenResponse) -> Result<()> {
    let name = "bob".to_owned();
    let (rpc, request) = ((ACCESS, "DisableAccount"), access::DisableAccountRequest { name });
    record
        .of_call::<access::DisableAccountResponse>(rpc, (ANA, "account.disable"), &[request])
        .await?;
    let token_id = gateway.token.as_ref().context("a token")?.token_id;
    let (rpc, request) = ((ACCESS, "RevokeToken"), access::RevokeTokenRequest { token_id });
    record
        .of_call::<access::RevokeTokenResponse>(rpc, (ANA, "token.revoke"), &[request])
        .await?;
    let (rpc, request) = ((ACCESS, "SignOut"), access::SignOutRequest {});
    record
        .of_call::<access::SignOutResponse>(rpc, (ANA, "session.end"), &[request])
        .await?;
    Ok(())
}

/// A site, a class, a specification and a sensor, with all that can be set of them.
async fn declare(record: &mut Record) -> Result<()> {
    let site = fleet::Site {
        name: ANNEX.into(),
        title: "Annex".into(),
        time_zone: "UTC".into(),
        auto_register_cap: 10,
        ..fleet::Site::default()
    };
    let (rpc, request) = ((FLEET, "CreateSite"), fleet::CreateSiteRequest { site: Some(site) });
    record
        .of_call::<fleet::CreateSiteResponse>(rpc, (ANA, "site.create"), &[request])
        .await?;
    let request = fleet::SetSecondApprovalRequest {
        site: ANNEX.into(),
        second_approval: false,
        reason: "one engineer alone".into(),
    };
    let rpc = (FLEET, "SetSecondApproval");
    record
        .of_call::<fleet::SetSecondApprovalResponse>(rpc, (ANA, "site.set_second_approval"), &[request])
        .await?;
    let class = fleet::MachineClass {
        name: "fan".into(),
        step_ms: 10_000,
        ..fleet::MachineClass::default()
    };
    let (rpc, request) = ((FLEET, "CreateClass"), fleet::CreateClassRequest { class: Some(class) });
    record
        .of_call::<fleet::CreateClassResponse>(rpc, (ANA, "class.create"), &[request])
        .await?;
    let spec = fleet::Spec {
        name: "fan-64".into(),
        definition_json: serde_json::to_string(&Plant::spec())?,
    };
    let (rpc, request) = ((FLEET, "CreateSpec"), fleet::CreateSpecRequest { spec: Some(spec) });
    record
        .of_call::<fleet::CreateSpecResponse>(rpc, (ANA, "spec.create"), &[request])
        .await?;
    rules(record).await?;
    sensor(record).await
}

async fn rules(record: &mut Record) -> Result<()> {
    let rules = fleet::CommissioningRules {
        readings: 50,
        span_s: 3_600,
        run_in_readings: 5,
    };
    let request = fleet::SetCommissioningRulesRequest {
        class: "fan".into(),
        rules: Some(rules),
    };
    let rpc = (FLEET, "SetCommissioningRules");
    record
        .of_call::<fleet::SetCommissioningRulesResponse>(rpc, (ANA, "class.set_commissioning"), &[request])
        .await?;
    let zone = fleet::SeverityZone {
        quantity: "velocity_rms".into(),
        ab: 1.4,
        bc: 2.8,
        cd: 4.5,
        ..fleet::SeverityZone::default()
    };
    let request = fleet::SetSeverityZonesRequest {
        class: "fan".into(),
        zones: vec![zone],
        reason: "ISO 20816-3".into(),
    };
    let rpc = (FLEET, "SetSeverityZones");
    record
        .of_call::<fleet::SetSeverityZonesResponse>(rpc, (ANA, "class.set_zones"), &[request])
        .await?;
    Ok(())
}

async fn sensor(record: &mut Record) -> Result<()> {
    let (site, machine, sensor) = (ANNEX.to_owned(), "fan-1".to_owned(), "h".to_owned());
    let new = fleet::Sensor {
        site: site.clone(),
        machine: machine.clone(),
        sensor: sensor.clone(),
        class: "fan".into(),
        spec: "fan-64".into(),
        ..fleet::Sensor::default()
    };
    let (rpc, request) = (
        (FLEET, "CreateSensor"),
        fleet::CreateSensorRequest { sensor: Some(new) },
    );
    record
        .of_call::<fleet::CreateSensorResponse>(rpc, (ANA, "sensor.create"), &[request])
        .await?;
    let bearing = fleet::Bearing {
        rolling_elements: 8,
        ball_diameter_mm: 8.0,
        pitch_diameter_mm: 40.0,
        contact_angle_deg: 0.0,
    };
    let request = fleet::SetBearingRequest {
        site: site.clone(),
        machine: machine.clone(),
        sensor: sensor.clone(),
        bearing: Some(bearing),
    };
    let rpc = (FLEET, "SetBearing");
    record
        .of_call::<fleet::SetBearingResponse>(rpc, (ANA, "sensor.set_bearing"), &[request])
        .await?;
    let request = fleet::CommissionSensorRequest {
        site,
        machine,
        sensor,
        reason: "a new bearing".into(),
        ..fleet::CommissionSensorRequest::default()
    };
    let rpc = (FLEET, "CommissionSensor");
    record
        .of_call::<fleet::CommissionSensorResponse>(rpc, (ANA, "sensor.commission"), &[request])
        .await?;
    Ok(())
}

/// A gateway that may register sensors.
async fn gateway(record: &mut Record) -> Result<access::CreateTokenResponse> {
    let token = access::Token {
        site: ANNEX.to_owned(),
        name: "new-sensors".to_owned(),
        may_replay: true,
        auto_register_class: CLASS.to_owned(),
        auto_register_spec: SPEC.to_owned(),
        ..access::Token::default()
    };
    let request = access::CreateTokenRequest { token: Some(token) };
    record
        .of_call((ACCESS, "CreateToken"), (ANA, "token.create"), &[request])
        .await
}

/// The gateway sends what nobody has declared.
async fn auto_register(fleet: &Fleet, record: &mut Record, gateway: &access::CreateTokenResponse) -> Result<Publisher> {
    let token = Token::parse(&gateway.secret).context("the secret")?;
    let properties = StreamProperties {
        clock_is_capture: true,
        historical: false,
    };
    let mut publisher = Publisher::new(fleet.stage.running.channel(&token), properties);
    let before = record.newest().await?;
    let readings = people::FAILING.map(|machine| Plant::reading(&format!("{machine}/h"), 0, Plant::healthy(0)));
    publisher.publish(readings.to_vec()).await?;
    let entries = record.since(before).await?;
    let registered = entries.iter().filter(|entry| entry.action == "sensors.auto_register");
    let by: Vec<&str> = registered.map(|entry| entry.actor.as_str()).collect();
    ensure!(by == ["gateway:new-sensors"], "{entries:#?}");
    record.audited.insert(path(PUBLISH));
    Ok(publisher)
}
