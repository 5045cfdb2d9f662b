use tocsin_contracts::fleet::v1::{
    CommissionSensorRequest, CommissioningRules, CreateClassRequest, CreateSensorRequest, CreateSiteRequest,
    CreateSpecRequest, ListClassesRequest, ListMachinesRequest, ListSensorsRequest, ListSeverityZonesRequest,
    ListSitesRequest, ListSpecsRequest, MachineClass, Sensor, SetCommissioningRulesRequest, SetSecondApprovalRequest,
    SetSeverityZonesRequest, SeverityZone, Site, Spec,
};
use tocsin_domain::SpectrumSpec;
use tocsin_registry::Config;
use tonic::Code;

use crate::stage::{SERVICE, Stage};

fn sensor(site: &str, machine: &str, sensor: &str) -> CreateSensorRequest {
    let (class, spec) = ("cnc".into(), "spindle".into());
    let (site, machine, sensor) = (site.into(), machine.into(), sensor.into());
    CreateSensorRequest {
        sensor: Some(Sensor {
            site,
            machine,
            sensor,
            class,
            spec,
            ..Sensor::default()
        }),
    }
}

#[tokio::test]
async fn an_engineer_declares_assets_and_an_administrator_sites() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let engineer = stage.person("eng", "engineer", &["lisbon"]).await;
    let operator = stage.person("op", "operator", &["lisbon"]).await;
    let mut engineer = stage.fleet(&engineer);

    let made = engineer
        .create_sensor(sensor("lisbon", "cnc-1", "x"))
        .await
        .unwrap()
        .into_inner()
        .sensor
        .unwrap();
    assert_eq!((made.device.as_str(), made.auto_registered), ("x", false));
    let again = engineer
        .create_sensor(sensor("lisbon", "cnc-1", "x"))
        .await
        .unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let class = || CreateClassRequest {
        class: Some(MachineClass {
            name: "pump".into(),
            step_ms: 60_000,
            ..MachineClass::default()
        }),
    };
    let spec = CreateSpecRequest {
        spec: Some(Spec {
            name: "motor".into(),
            definition_json: serde_json::to_string(&SpectrumSpec::corpus_default(64)).unwrap(),
        }),
    };
    let of_one_site = [
        engineer.create_class(class()).await.unwrap_err(),
        engineer.create_spec(spec.clone()).await.unwrap_err(),
    ];
    for (refused, what) in of_one_site.into_iter().zip(["classes", "specs"]) {
        assert_eq!(refused.code(), Code::PermissionDenied);
        let words = format!("eng may not make {what}: that holds for every site, and eng sees some sites only");
        assert_eq!(refused.message(), words);
    }
    let everywhere = stage.person("chief", "engineer", &[]).await;
    let mut chief = stage.fleet(&everywhere);
    chief.create_class(class()).await.unwrap();
    chief.create_spec(spec).await.unwrap();

    let site = || CreateSiteRequest {
        site: Some(Site {
            name: "faro".into(),
            ..Site::default()
        }),
    };
    assert_eq!(
        engineer.create_site(site()).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let local = stage.person("local", "admin", &["lisbon"]).await;
    assert_eq!(
        stage.fleet(&local).create_site(site()).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let root = stage.person("root", "admin", &[]).await;
    let faro = stage
        .fleet(&root)
        .create_site(site())
        .await
        .unwrap()
        .into_inner()
        .site
        .unwrap();
    assert_eq!(
        (faro.title.as_str(), faro.oldest_s, faro.furthest_s),
        ("faro", 30 * 24 * 3600, 300)
    );

    let made = stage
        .fleet(&operator)
        .create_sensor(sensor("lisbon", "cnc-1", "y"))
        .await;
    assert_eq!(made.unwrap_err().code(), Code::PermissionDenied);
    let done = stage.audit().await;
    assert!(
        done.contains(&("eng".into(), "sensor.create".into(), "lisbon/cnc-1/x".into())),
        "{done:?}"
    );
    assert!(
        done.contains(&("root".into(), "site.create".into(), "faro".into())),
        "{done:?}"
    );
    stage.finish().await;
}

#[tokio::test]
async fn another_site_is_not_found_whether_it_exists_or_not() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    for (site, machine) in [("lisbon", "cnc-1"), ("porto", "cnc-1"), ("porto", "cnc-2")] {
        stage
            .fleet(SERVICE)
            .create_sensor(sensor(site, machine, "x"))
            .await
            .unwrap();
    }
    let viewer = stage.person("vera", "engineer", &["lisbon"]).await;
    let mut vera = stage.fleet(&viewer);

    let sites = vera.list_sites(ListSitesRequest {}).await.unwrap().into_inner().sites;
    assert_eq!(
        sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>(),
        ["lisbon"]
    );
    let machines = vera
        .list_machines(ListMachinesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .machines;
    assert_eq!(machines.len(), 1, "{machines:?}");
    assert_eq!((machines[0].site.as_str(), machines[0].sensors), ("lisbon", 1));
    let mut messages = Vec::new();
    for site in ["porto", "atlantis"] {
        let machines = vera
            .list_machines(ListMachinesRequest {
                site: site.into(),
                machine: String::new(),
            })
            .await;
        let sensors = vera
            .list_sensors(ListSensorsRequest {
                site: site.into(),
                machine: String::new(),
            })
            .await;
        let made = vera.create_sensor(sensor(site, "cnc-1", "y")).await;
        let begun = vera.commission_sensor(anew(site)).await;
        for status in [
            machines.unwrap_err(),
            sensors.unwrap_err(),
            made.unwrap_err(),
            begun.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::NotFound, "{status}");
            messages.push(status.message().replace(site, "it"));
        }
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let all = stage
        .fleet(SERVICE)
        .list_sensors(ListSensorsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .sensors;
    assert_eq!(all.len(), 3);
    stage.finish().await;
}

fn anew(site: &str) -> CommissionSensorRequest {
    CommissionSensorRequest {
        site: site.into(),
        machine: "cnc-1".into(),
        sensor: "x".into(),
        reason: "new bearing".into(),
        ..CommissionSensorRequest::default()
    }
}

#[tokio::test]
async fn an_engineer_of_the_site_commissions_a_sensor_anew_and_it_is_on_record() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let made = stage.fleet(SERVICE).create_sensor(sensor("lisbon", "cnc-1", "x")).await;
    let first = made.unwrap().into_inner().sensor.unwrap().commissioning.unwrap();
    assert_eq!(
        (first.state.as_str(), first.epoch, first.readings_needed),
        ("commissioning", 1, 100)
    );
    let operator = stage.person("olga", "operator", &["lisbon"]).await;
    let refused = stage.fleet(&operator).commission_sensor(anew("lisbon")).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let engineer = stage.person("eva", "engineer", &["lisbon"]).await;
    let mut eva = stage.fleet(&engineer);
    let silent = CommissionSensorRequest {
        reason: String::new(),
        ..anew("lisbon")
    };
    let unexplained = eva.commission_sensor(silent).await.unwrap_err();
    assert!(unexplained.message().contains("reason"), "{unexplained}");
    let begun = eva.commission_sensor(anew("lisbon")).await.unwrap().into_inner();
    let state = begun.sensor.unwrap().commissioning.unwrap();
    assert_eq!(
        (state.epoch, state.started_by.as_str(), state.reason.as_str()),
        (2, "eva", "new bearing")
    );
    let done = stage.audit().await;
    let entry = ("eva".into(), "sensor.commission".into(), "lisbon/cnc-1/x".into());
    assert!(done.contains(&entry), "{done:?}");
    let rules = SetCommissioningRulesRequest {
        class: "cnc".into(),
        rules: Some(CommissioningRules {
            readings: 50,
            span_s: 3_600,
            run_in_readings: 0,
        }),
    };
    let of_one_site = eva.set_commissioning_rules(rules.clone()).await.unwrap_err();
    assert_eq!(of_one_site.code(), Code::PermissionDenied, "a class is every site's");
    let class = stage.fleet(SERVICE).set_commissioning_rules(rules.clone()).await;
    assert_eq!(class.unwrap().into_inner().class.unwrap().commissioning, rules.rules);
    stage.finish().await;
}

fn rigid() -> SeverityZone {
    SeverityZone {
        quantity: "velocity_rms".into(),
        name: String::new(),
        ab: 2.3,
        bc: 4.5,
        cd: 7.1,
        stop: None,
    }
}

#[tokio::test]
async fn an_engineer_of_every_site_sets_the_zones_of_a_class_and_who_did_stays_on_record() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let set = |zones: Vec<SeverityZone>, reason: &str| SetSeverityZonesRequest {
        class: "cnc".into(),
        zones,
        reason: reason.into(),
    };
    let of_one_site = stage.person("eva", "engineer", &["lisbon"]).await;
    let refused = stage
        .fleet(&of_one_site)
        .set_severity_zones(set(vec![rigid()], "iso"))
        .await;
    assert_eq!(
        refused.unwrap_err().code(),
        Code::PermissionDenied,
        "a class is every site's"
    );
    let everywhere = stage.person("ana", "engineer", &[]).await;
    let mut ana = stage.fleet(&everywhere);
    for (wrong, field) in [
        (set(vec![rigid()], " "), "reason"),
        (set(vec![rigid(), rigid()], "twice"), "zones[1]"),
    ] {
        let error = ana.set_severity_zones(wrong).await.unwrap_err();
        assert!(error.message().contains(field), "{error}");
    }
    ana.set_severity_zones(set(vec![rigid()], "ISO 20816-3 group 1 rigid"))
        .await
        .unwrap();
    let classes = ana
        .list_classes(ListClassesRequest {})
        .await
        .unwrap()
        .into_inner()
        .classes;
    let severity = classes[0].severity.clone().unwrap();
    assert_eq!((severity.zones, severity.version), (vec![rigid()], 1));
    assert_eq!(severity.changed_by, "ana");
    ana.set_severity_zones(set(Vec::new(), "a mistake")).await.unwrap();
    let class = "cnc".into();
    let versions = ana.list_severity_zones(ListSeverityZonesRequest { class }).await;
    let versions = versions.unwrap().into_inner().versions;
    let reasons: Vec<_> = versions.iter().map(|one| (one.version, one.reason.as_str())).collect();
    assert_eq!(reasons, [(2, "a mistake"), (1, "ISO 20816-3 group 1 rigid")]);
    let done = stage.audit().await;
    let entry = ("ana".to_owned(), "class.set_zones".to_owned(), "cnc".to_owned());
    assert_eq!(done.iter().filter(|done| **done == entry).count(), 2, "{done:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_zone_is_accepted_in_a_persons_name_and_only_where_a_sensor_stands_refused() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    stage
        .fleet(SERVICE)
        .create_sensor(sensor("lisbon", "cnc-1", "x"))
        .await
        .unwrap();
    let eva = stage.person("eva", "engineer", &["lisbon"]).await;
    stage.person("pia", "engineer", &["porto"]).await;
    let accept = |by: &str| CommissionSensorRequest {
        accept_zone: true,
        accepted_by: by.into(),
        ..anew("lisbon")
    };
    for by in ["", "nobody", "pia"] {
        let error = stage.fleet(SERVICE).commission_sensor(accept(by)).await.unwrap_err();
        assert!(error.message().contains("accepted_by"), "{by}: {error}");
    }
    let for_another = stage.fleet(&eva).commission_sensor(accept("pia")).await.unwrap_err();
    assert!(for_another.message().contains("no other name"), "{for_another}");
    for (token, by) in [(eva.as_str(), ""), (SERVICE, "eva")] {
        let nothing = stage.fleet(token).commission_sensor(accept(by)).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition, "{nothing}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_class_is_made_with_its_rules_at_once_and_the_record_names_them() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let rules = CommissioningRules {
        readings: 50,
        span_s: 3_600,
        run_in_readings: 3,
    };
    let class = |rules| CreateClassRequest {
        class: Some(MachineClass {
            name: "pump".into(),
            step_ms: 60_000,
            commissioning: Some(rules),
            severity: None,
        }),
    };
    let few = CommissioningRules { readings: 3, ..rules };
    let refused = stage.fleet(SERVICE).create_class(class(few)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let made = stage.fleet(SERVICE).create_class(class(rules)).await.unwrap();
    assert_eq!(made.into_inner().class.unwrap().commissioning, Some(rules));
    let newest = stage.store.audit_list(None, 1).await.unwrap().remove(0);
    let detail: serde_json::Value = serde_json::from_str(&newest.detail_json).unwrap();
    let named = serde_json::json!({ "readings": 50, "span_s": 3_600, "run_in": 3 });
    assert_eq!(
        (newest.action.as_str(), &detail["commissioning"]),
        ("class.create", &named)
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_spec_comes_back_as_it_was_declared() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let specs = stage
        .fleet(SERVICE)
        .list_specs(ListSpecsRequest {})
        .await
        .unwrap()
        .into_inner()
        .specs;
    let spec: SpectrumSpec = serde_json::from_str(&specs[0].definition_json).unwrap();
    assert_eq!(
        (specs[0].name.as_str(), spec),
        ("spindle", SpectrumSpec::corpus_default(64))
    );
    stage.finish().await;
}

#[tokio::test]
async fn an_administrator_of_a_site_says_whether_it_asks_for_a_second_person() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let ada = stage.person("ada", "admin", &["lisbon"]).await;
    let eva = stage.person("eva", "engineer", &["lisbon"]).await;
    let order = |site: &str, reason: &str| SetSecondApprovalRequest {
        site: site.into(),
        second_approval: true,
        reason: reason.into(),
    };
    for (token, request, code) in [
        (&eva, order("lisbon", "four eyes"), Code::PermissionDenied),
        (&ada, order("porto", "four eyes"), Code::NotFound),
        (&ada, order("lisbon", " "), Code::InvalidArgument),
    ] {
        let refused = stage.fleet(token).set_second_approval(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let set = stage
        .fleet(&ada)
        .set_second_approval(order("lisbon", "four eyes"))
        .await;
    assert!(set.unwrap().into_inner().site.unwrap().second_approval);
    let sites = stage.fleet(SERVICE).list_sites(ListSitesRequest {}).await.unwrap();
    let asks: Vec<_> = sites
        .into_inner()
        .sites
        .into_iter()
        .map(|site| (site.name, site.second_approval))
        .collect();
    assert_eq!(asks, [("lisbon".to_owned(), true), ("porto".to_owned(), false)]);
    let entry = ("ada".into(), "site.set_second_approval".into(), "lisbon".into());
    assert!(stage.audit().await.contains(&entry));
    stage.finish().await;
}
