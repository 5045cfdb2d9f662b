//! Saved filters: a person's own, bounded, and on record.

use tocsin_contracts::incidents::v1;
use tocsin_domain::access::Person;
use tocsin_domain::{AccountId, Clock, PersonRole, Principal, Scope};
use tocsin_pager::Config;
use tocsin_store::access::NewAccount;
use tonic::Code;

use crate::incidents::{Client, client_with};
use crate::stage::{Stage, with_stage};

/// A viewer with an account.
async fn viewer(stage: &Stage, name: &str) -> Client {
    let account = NewAccount {
        name: name.to_owned(),
        password_hash: "$argon2id$none".to_owned(),
        role: PersonRole::Viewer,
        scope: Scope::All,
    };
    let made = stage
        .store
        .account_create(&account, stage.clock.now(), tocsin_scratch::audit)
        .await
        .unwrap();
    client_of(stage, made.id, name)
}

fn client_of(stage: &Stage, account: AccountId, name: &str) -> Client {
    let person = Principal::Person(Person {
        account,
        name: name.to_owned(),
        role: PersonRole::Viewer,
        scope: Scope::All,
    });
    client_with(stage, Some(person), Config::default())
}

fn filter(name: &str, severity: &str) -> v1::IncidentFilter {
    v1::IncidentFilter {
        name: name.to_owned(),
        open_only: true,
        site: "north".to_owned(),
        severity: severity.to_owned(),
        unacknowledged_only: true,
        ..v1::IncidentFilter::default()
    }
}

async fn save(client: &mut Client, filter: v1::IncidentFilter) -> Result<v1::IncidentFilter, tonic::Status> {
    let request = v1::SaveIncidentFilterRequest { filter: Some(filter) };
    let answer = client.save_incident_filter(request).await?;
    Ok(answer.into_inner().filter.unwrap())
}

async fn names(client: &mut Client) -> Vec<(String, String)> {
    let answer = client.list_incident_filters(v1::ListIncidentFiltersRequest {}).await;
    let filters = answer.unwrap().into_inner().filters;
    filters
        .into_iter()
        .map(|filter| (filter.name, filter.severity))
        .collect()
}

async fn delete(client: &mut Client, name: &str) -> Result<(), tonic::Status> {
    let name = name.to_owned();
    let request = v1::DeleteIncidentFilterRequest { name };
    client.delete_incident_filter(request).await.map(|_| ())
}

#[tokio::test]
async fn a_person_keeps_filters_of_their_own_under_names_and_nobody_elses() {
    with_stage("filters", Clock::system(), |stage| async move {
        let (mut ana, mut bo) = (viewer(&stage, "ana").await, viewer(&stage, "bo").await);
        let saved = save(&mut ana, filter(" night shift ", "page")).await.unwrap();
        assert_eq!(
            (saved.name.as_str(), saved.site.as_str(), saved.saved_at.is_some()),
            ("night shift", "north", true)
        );
        save(&mut ana, filter("night shift", "alert")).await.unwrap();
        save(&mut bo, filter("mine", "")).await.unwrap();
        assert_eq!(names(&mut ana).await, [("night shift".to_owned(), "alert".to_owned())]);
        assert_eq!(names(&mut bo).await, [("mine".to_owned(), String::new())]);
        let not_his = delete(&mut bo, "night shift").await.unwrap_err();
        assert_eq!(not_his.code(), Code::NotFound, "{not_his}");
        delete(&mut ana, "night shift").await.unwrap();
        assert_eq!(names(&mut ana).await, []);
        let audited = stage.store.audit_list(None, 9).await.unwrap();
        let done: Vec<_> = audited
            .iter()
            .filter(|entry| entry.action.starts_with("incident_filter."))
            .map(|entry| (entry.actor.as_str(), entry.action.as_str()))
            .collect();
        assert_eq!(
            done,
            [
                ("ana", "incident_filter.delete"),
                ("bo", "incident_filter.save"),
                ("ana", "incident_filter.save"),
                ("ana", "incident_filter.save"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_saved_is_refused_with_the_reason() {
    with_stage("filters_refused", Clock::system(), |stage| async move {
        let mut ana = viewer(&stage, "ana").await;
        let unnamed = save(&mut ana, filter("  ", "")).await.unwrap_err();
        assert_eq!(unnamed.code(), Code::InvalidArgument, "{unnamed}");
        assert!(unnamed.message().contains("name"), "{unnamed}");
        for nth in 0..50 {
            save(&mut ana, filter(&format!("filter {nth}"), "")).await.unwrap();
        }
        let one_more = save(&mut ana, filter("one more", "")).await.unwrap_err();
        assert_eq!(one_more.code(), Code::FailedPrecondition);
        assert!(one_more.message().contains("50 filters"), "{one_more}");
        save(&mut ana, filter("filter 7", "page")).await.unwrap();
        delete(&mut ana, "filter 8").await.unwrap();
        save(&mut ana, filter("one more", "")).await.unwrap();
        let mut service = client_with(&stage, Some(Principal::Service), Config::default());
        let nobodys = save(&mut service, filter("mine", "")).await.unwrap_err();
        assert_eq!(nobodys.code(), Code::FailedPrecondition);
        assert!(nobodys.message().contains("sign in"), "{nobodys}");
    })
    .await;
}

#[tokio::test]
async fn incidents_are_listed_by_how_bad_they_were_and_whether_anybody_took_them() {
    with_stage("filtered", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        let mut ana = viewer(&stage, "ana").await;
        let mut listed = async |severity: &str, unacknowledged_only| {
            let request = v1::ListIncidentsRequest {
                severity: severity.to_owned(),
                unacknowledged_only,
                ..v1::ListIncidentsRequest::default()
            };
            let answer = ana.list_incidents(request).await.unwrap().into_inner();
            answer.incidents.len()
        };
        assert_eq!(listed("page", true).await, 1);
        assert_eq!(listed("alert", false).await, 0);
        let operator = crate::incidents::person(PersonRole::Operator, Scope::All);
        client_with(&stage, Some(operator), Config::default())
            .acknowledge_incident(crate::incidents::acknowledge(incident))
            .await
            .unwrap();
        assert_eq!((listed("page", true).await, listed("page", false).await), (0, 1));
    })
    .await;
}
