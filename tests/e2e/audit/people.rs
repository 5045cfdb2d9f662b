//! What people do with incidents, sensor alarms and machines, by every road there is.

use std::path::Path;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tocsin::publish::Publisher;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::review::v1 as review;
use tocsin_domain::Clock;
use tocsin_pager::Destination;
use tocsin_pager::destination::{PagerDuty, Webhook};
use tocsin_tests::stage::SITE;
use tocsin_tests::{Fleet, Plant, Receiver};

use super::ANA;
use super::record::Record;

pub(super) const INCIDENTS: &str = "incidents.v1.IncidentsService";
const REVIEW: &str = "review.v1.ReviewService";
pub(super) const SENSOR_ALARMS: &str = "incidents.v1.SensorAlarmsService";

/// Machines that fail: their incidents are taken by a person, by a link, by a receiver, and with a flood.
pub(super) const FAILING: [&str; 4] = ["f1", "f2", "f3", "f4"];

/// What signs the posts of `PagerDuty`.
const HUSH: &str = "hush";

/// Receivers beside the stage's own.
pub(super) struct Outside {
    duty: Receiver,
    refuser: Receiver,
}

impl Outside {
    pub(super) async fn start() -> Result<Self> {
        let outside = Self {
            duty: Receiver::start().await?,
            refuser: Receiver::start().await?,
        };
        outside.refuser.answer_with(404);
        Ok(outside)
    }

    /// Pages carry links, `PagerDuty` posts back, and one receiver takes nothing.
    pub(super) fn settings(&self, secrets: &Path, pager: &mut tocsin_pager::Config) {
        let file = |name: &str| {
            let path = secrets.join(name);
            std::fs::write(&path, HUSH).expect("a file in a folder of the test's own");
            path
        };
        let mut pager_duty = PagerDuty::new("pd", file("routing"));
        (pager_duty.url, pager_duty.webhook_secret_file) = (self.duty.url().as_str().into(), Some(file("v3")));
        pager.destinations.push(Destination::PagerDuty(pager_duty));
        let refuser = Webhook::new("refuser", self.refuser.url());
        pager.destinations.push(Destination::Webhook(refuser));
        // What is refused once is given up.
        pager.max_attempts = 1;
        pager.console_url = Some("https://tocsin.example.org".to_owned());
        pager.acknowledge_secret_file = Some(file("links"));
    }
}

/// Machines fail, and people do with that all that can be done.
pub(super) async fn act(
    fleet: &Fleet,
    record: &mut Record,
    outside: &Outside,
    publisher: &mut Publisher,
) -> Result<()> {
    let incidents = fail(fleet, publisher).await?;
    take(fleet, record, incidents).await?;
    tell(record, incidents[0]).await?;
    review(record, incidents[0]).await?;
    filters(record).await?;
    suppress(record).await?;
    resend(fleet, record).await?;
    outside.refuser.answer_with(200);
    sensor_alarm(fleet, record).await
}

/// A filter of their own.
async fn filters(record: &mut Record) -> Result<()> {
    let name = "night shift".to_owned();
    let filter = v1::IncidentFilter {
        name: name.clone(),
        site: SITE.to_owned(),
        severity: "page".into(),
        ..v1::IncidentFilter::default()
    };
    let request = v1::SaveIncidentFilterRequest { filter: Some(filter) };
    let rpc = (INCIDENTS, "SaveIncidentFilter");
    record
        .of_call::<v1::SaveIncidentFilterResponse>(rpc, (ANA, "incident_filter.save"), &[request])
        .await?;
    let rpc = (INCIDENTS, "DeleteIncidentFilter");
    let request = v1::DeleteIncidentFilterRequest { name };
    record
        .of_call::<v1::DeleteIncidentFilterResponse>(rpc, (ANA, "incident_filter.delete"), &[request])
        .await?;
    Ok(())
}

/// The incidents of the machines that fail, in their order.
async fn fail(fleet: &Fleet, publisher: &mut Publisher) -> Result<[i64; 4]> {
    // The ensemble follows the registry when it gets round to it.
    let mut incidents = IncidentsServiceClient::new(fleet.stage.running.service_channel());
    for step in 1..600 {
        let bins = if step < 30 { Plant::healthy } else { Plant::failing };
        let readings = FAILING.map(|machine| Plant::reading(&format!("{machine}/h"), step, bins(step)));
        publisher.publish(readings.to_vec()).await?;
        let listed = incidents.list_incidents(v1::ListIncidentsRequest::default()).await?;
        let listed = listed.into_inner().incidents;
        let of = |machine: &str| {
            let paged = |incident: &&v1::Incident| incident.machine == machine && incident.severity == "page";
            listed.iter().find(paged).map(|incident| incident.incident_id)
        };
        if let [Some(one), Some(two), Some(three), Some(four)] = FAILING.map(of) {
            return Ok([one, two, three, four]);
        }
    }
    anyhow::bail!("the machines that fail have no incidents")
}

/// Each incident is taken by another road.
async fn take(fleet: &Fleet, record: &mut Record, [one, two, three, four]: [i64; 4]) -> Result<()> {
    let request = v1::AcknowledgeIncidentRequest {
        incident_id: one,
        note: "seen".into(),
    };
    let rpc = (INCIDENTS, "AcknowledgeIncident");
    record
        .of_call::<v1::AcknowledgeIncidentResponse>(rpc, (ANA, "incident.acknowledge"), &[request])
        .await?;

    let is_of_two = |page: &&Value| page["incident_id"] == two && page["acknowledge_url"].is_string();
    let receiver = &fleet.stage.receiver;
    let pages = receiver
        .wait_until("a page with a link", |pages| pages.iter().any(|page| is_of_two(&page)))
        .await?;
    let page = pages.iter().find(is_of_two).context("the page")?;
    let link = page["acknowledge_url"].as_str().context("a link")?;
    let token = link.rsplit('/').next().context("its last part")?.to_owned();
    let by = ("acknowledge link sent to receiver", "incident.acknowledge");
    let (rpc, request) = ((INCIDENTS, "AcknowledgeByLink"), v1::AcknowledgeByLinkRequest { token });
    record
        .of_call::<v1::AcknowledgeByLinkResponse>(rpc, by, &[request])
        .await?;

    let by = ("Cid (PagerDuty)", "incident.acknowledge");
    record
        .of_call::<v1::ReceiveHookResponse>((INCIDENTS, "ReceiveHook"), by, &[post(three)?])
        .await?;

    let flood = "with flood as (insert into flood (destination, began_at) values ('receiver', now()) returning flood_id)
        insert into flood_incident (flood_id, incident_id, joined_at) select flood_id, $1, now() from flood returning flood_id";
    let flood_id = sqlx::query_scalar(flood)
        .bind(four)
        .fetch_one(fleet.stage.store.pool())
        .await?;
    let request = v1::AcknowledgeFloodRequest {
        flood_id,
        note: "all of it".into(),
    };
    let rpc = (INCIDENTS, "AcknowledgeFlood");
    record
        .of_call::<v1::AcknowledgeFloodResponse>(rpc, (ANA, "incident.acknowledge"), &[request])
        .await?;
    Ok(())
}

/// What `PagerDuty` posts when somebody takes an incident there.
fn post(incident: i64) -> Result<v1::ReceiveHookRequest> {
    let event = json!({
        "event_type": "incident.acknowledged",
        "occurred_at": Clock::system().now(),
        "agent": { "summary": "Cid" },
        "data": { "incident_key": format!("tocsin-incident-{incident}") },
    });
    let body = serde_json::to_vec(&json!({ "event": event }))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(HUSH.as_bytes())?;
    mac.update(&body);
    Ok(v1::ReceiveHookRequest {
        receiver: "pagerduty".into(),
        body,
        signature: format!("v1={}", hex::encode(mac.finalize().into_bytes())),
        timestamp: String::new(),
    })
}

/// What is said and done about an incident beside taking it.
async fn tell(record: &mut Record, incident_id: i64) -> Result<()> {
    let request = v1::CommentIncidentRequest {
        incident_id,
        text: "it rattles".into(),
    };
    let rpc = (INCIDENTS, "CommentIncident");
    record
        .of_call::<v1::CommentIncidentResponse>(rpc, (ANA, "incident.comment"), &[request])
        .await?;
    let request = v1::HandOverIncidentRequest {
        incident_id,
        to: "bob".into(),
        note: String::new(),
    };
    let rpc = (INCIDENTS, "HandOverIncident");
    record
        .of_call::<v1::HandOverIncidentResponse>(rpc, (ANA, "incident.hand_over"), &[request])
        .await?;
    let request = v1::OrderWorkRequest {
        incident_id,
        reference: "WO-1".into(),
        note: String::new(),
    };
    let rpc = (INCIDENTS, "OrderWork");
    record
        .of_call::<v1::OrderWorkResponse>(rpc, (ANA, "incident.order_work"), &[request])
        .await?;
    let request = v1::AddLabelRequest {
        subject: Some(v1::add_label_request::Subject::IncidentId(incident_id)),
        label: "true_failure".into(),
        ..v1::AddLabelRequest::default()
    };
    let rpc = (INCIDENTS, "AddLabel");
    record
        .of_call::<v1::AddLabelResponse>(rpc, (ANA, "machine.label"), &[request])
        .await?;
    Ok(())
}

/// What people write about an incident.
async fn review(record: &mut Record, incident_id: i64) -> Result<()> {
    let request = review::SaveIncidentReviewRequest {
        incident_id,
        conclusion: "worn".into(),
        ..review::SaveIncidentReviewRequest::default()
    };
    let rpc = (REVIEW, "SaveIncidentReview");
    record
        .of_call::<review::SaveIncidentReviewResponse>(rpc, (ANA, "incident_review.save"), &[request])
        .await?;
    let request = review::FinaliseIncidentReviewRequest {
        incident_id,
        revision: 1,
        open_because: "it is a test".into(),
    };
    let rpc = (REVIEW, "FinaliseIncidentReview");
    record
        .of_call::<review::FinaliseIncidentReviewResponse>(rpc, (ANA, "incident_review.finalise"), &[request])
        .await?;
    let request = review::ReopenIncidentReviewRequest {
        incident_id,
        reason: "a word is missing".into(),
    };
    let rpc = (REVIEW, "ReopenIncidentReview");
    record
        .of_call::<review::ReopenIncidentReviewResponse>(rpc, (ANA, "incident_review.reopen"), &[request])
        .await?;
    Ok(())
}

async fn suppress(record: &mut Record) -> Result<()> {
    let (site, machine) = (SITE.to_owned(), "m5".to_owned());
    let request = v1::SuppressMachineRequest {
        site: site.clone(),
        machine: machine.clone(),
        kind: "shelved".into(),
        for_s: 3_600,
        one_shot: false,
        reason: "it is cleaned".into(),
    };
    let rpc = (INCIDENTS, "SuppressMachine");
    record
        .of_call::<v1::SuppressMachineResponse>(rpc, (ANA, "machine.suppress"), &[request])
        .await?;
    let request = v1::RestoreMachineRequest { site, machine };
    let rpc = (INCIDENTS, "RestoreMachine");
    record
        .of_call::<v1::RestoreMachineResponse>(rpc, (ANA, "machine.restore"), &[request])
        .await?;
    Ok(())
}

/// A page that a receiver refused goes out again.
async fn resend(fleet: &Fleet, record: &mut Record) -> Result<()> {
    // A page of an open incident is tried on and never given up by itself: this one is by hand.
    let refused = |said: &Value| said.to_string().contains("tried on");
    fleet.stage.ask_until(&["pages", "list"], refused).await?;
    let give_up = "update delivery set state = 'dead' where delivery_id =
        (select min(delivery_id) from delivery where destination = 'refuser' and attempt_count = 1) returning delivery_id";
    let delivery_id = sqlx::query_scalar(give_up).fetch_one(fleet.stage.store.pool()).await?;
    let (rpc, request) = ((INCIDENTS, "ResendDelivery"), v1::ResendDeliveryRequest { delivery_id });
    record
        .of_call::<v1::ResendDeliveryResponse>(rpc, (ANA, "page.resend"), &[request])
        .await?;
    Ok(())
}

/// An alarm about a sensor that was never heard of.
async fn sensor_alarm(fleet: &Fleet, record: &mut Record) -> Result<()> {
    let raise = "insert into sensor_alarm (kind, site_id, sensor_id, since, raised_at)
        select 'silent_sensor', m.site_id, s.sensor_id, now(), now() from sensor s join machine m using (machine_id)
        where m.name = 'fan-1' returning alarm_id";
    let alarm_id = sqlx::query_scalar(raise).fetch_one(fleet.stage.store.pool()).await?;
    let request = v1::AcknowledgeSensorAlarmRequest {
        alarm_id,
        note: "a cable".into(),
    };
    let rpc = (SENSOR_ALARMS, "AcknowledgeSensorAlarm");
    record
        .of_call::<v1::AcknowledgeSensorAlarmResponse>(rpc, (ANA, "sensor_alarm.acknowledge"), &[request])
        .await?;
    Ok(())
}
