//! Machines that are shelved or out of service: judged as ever, nobody is paged, everything is on record, and what is
//! still so when the time is over is said then.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tocsin::publish::Publisher;
use tocsin_domain::Clock;
use tocsin_store::access::AuditEntry;
use tocsin_tests::{Plant, Stage};

/// A platform whose time is the story's, and what happens on it.
struct Story {
    stage: Stage,
    publisher: Publisher,
    step: u64,
}

impl Story {
    async fn begin() -> Result<Self> {
        let clock = Clock::manual(Plant::start() + Duration::from_hours(1));
        let stage = Stage::start_at(clock, tocsin::Role::ALL, |_| ()).await?;
        for machine in ["m1", "m2"] {
            stage.sensor(machine, "h").await?;
        }
        stage.bundle(1).await?;
        let publisher = stage.publisher().await?;
        Ok(Self {
            stage,
            publisher,
            step: 0,
        })
    }

    /// Steps of both machines.
    async fn runs(&mut self, steps: u64, m1: fn(u64) -> Vec<f32>, m2: fn(u64) -> Vec<f32>) -> Result<()> {
        for _ in 0..steps {
            let n = self.step;
            let readings = [("m1/h", m1), ("m2/h", m2)].map(|(name, shows)| Plant::reading(name, n, shows(n)));
            self.publisher.publish(readings.to_vec()).await?;
            self.step += 1;
        }
        Ok(())
    }

    async fn incidents(&self) -> Result<Vec<Value>> {
        Ok(list(&self.stage.ask(&["incidents", "list"]).await?, "incidents"))
    }

    async fn suppressions(&self) -> Result<Vec<Value>> {
        let listed = self.stage.ask(&["machines", "suppressed", "--all"]).await?;
        Ok(list(&listed, "suppressions"))
    }
}

fn list(answer: &Value, name: &str) -> Vec<Value> {
    answer[name].as_array().cloned().unwrap_or_default()
}

fn of<'a>(values: &'a [Value], machine: &str) -> &'a Value {
    values
        .iter()
        .find(|value| value["machine"] == machine)
        .unwrap_or(&Value::Null)
}

fn actions(pages: &[Value], machine: &str) -> Vec<String> {
    let of_machine = pages.iter().filter(|page| page["machine"] == machine);
    of_machine
        .filter_map(|page| page["action"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelved_machine_pages_nobody_until_its_time_is_over_or_its_incident_is() -> Result<()> {
    let mut story = Story::begin().await?;
    let shelve = |path: &'static str| {
        [
            "machines",
            "shelve",
            path,
            "--for",
            "2h",
            "--reason",
            "bearing is ordered",
        ]
    };
    let told = story.stage.ask(&shelve("works/m1")).await?;
    assert_eq!(told["suppression"]["kind"], "shelved", "{told:#}");
    let mut one_shot = shelve("works/m2").to_vec();
    one_shot.push("--one-shot");
    story.stage.ask(&one_shot).await?;

    story.runs(20, Plant::failing, Plant::failing).await?;
    let incidents = story.incidents().await?;
    assert_eq!(
        of(&incidents, "m1")["severity"],
        "page",
        "it is judged as ever: {incidents:#?}"
    );
    story.runs(30, Plant::failing, Plant::healthy).await?;
    let incidents = story.incidents().await?;
    assert_eq!(
        of(&incidents, "m2")["state"],
        "returned_unacknowledged",
        "{incidents:#?}"
    );
    let suppressions = story.suppressions().await?;
    assert_eq!(of(&suppressions, "m2")["ended_by"], "incident");
    assert_eq!(of(&suppressions, "m1")["suppressed_pages"], 1, "{suppressions:#?}");
    let number = of(&suppressions, "m1")["suppression_id"].to_string();
    let kept = story.stage.ask(&["machines", "suppressed", &number]).await?["suppression"].clone();
    assert_eq!(kept["pages"][0]["payload"]["machine"], "m1", "{kept:#}");
    assert_eq!(story.stage.receiver.pages(), Vec::<Value>::new(), "nobody was paged");

    // A machine that is back is paged about at once.
    story.runs(15, Plant::failing, Plant::failing).await?;
    let of_m2 = |pages: &[Value]| actions(pages, "m2") == ["trigger"];
    story.stage.receiver.wait_until("m2 is back", of_m2).await?;

    story.stage.clock.advance(Duration::from_hours(2));
    let of_m1 = |pages: &[Value]| actions(pages, "m1") == ["trigger"];
    let pages = story.stage.receiver.wait_until("the shelf is over", of_m1).await?;
    let summary = of(&pages, "m1")["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("kept while the machine was shelved by"), "{summary}");
    let restored_by = |actor| {
        let entries = story.stage.store.audit_list(None, 1_000);
        async move {
            let restores = |entry: &AuditEntry| entry.action == "machine.restore" && entry.actor == actor;
            anyhow::Ok(entries.await?.into_iter().filter(restores).count())
        }
    };
    assert_eq!((restored_by("incident").await?, restored_by("time").await?), (1, 1));
    let key = of(&pages, "m1")["page_key"].clone();
    assert_eq!(key, kept["pages"][0]["page_key"], "under the key it had from the first");

    story.runs(30, Plant::healthy, Plant::healthy).await?;
    let over = |pages: &[Value]| actions(pages, "m1") == ["trigger", "resolve"];
    story.stage.receiver.wait_until("m1 is well", over).await?;
    let number = of(&story.incidents().await?, "m1")["incident_id"].to_string();
    let whole = story.stage.ask(&["incidents", "show", &number]).await?["incident"].clone();
    let events = list(&whole, "events");
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    let told: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "step").collect();
    assert_eq!(told, ["opened", "page_suppressed", "restored", "cleared"]);
    story.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_out_of_service_is_heard_of_when_it_is_back_if_it_is_still_bad_and_nobody_has_it() -> Result<()> {
    let mut story = Story::begin().await?;
    for path in ["works/m1", "works/m2"] {
        let order = [
            "machines",
            "out-of-service",
            path,
            "--for",
            "30d",
            "--reason",
            "overhaul",
        ];
        story.stage.ask(&order).await?;
    }
    let shelved = ["machines", "shelve", "works/m1", "--for", "1h", "--reason", "noise"];
    let refused = story.stage.ask(&shelved).await.unwrap_err().to_string();
    assert!(
        refused.contains("a machine that is out_of_service can't be shelved"),
        "{refused}"
    );

    story.runs(20, Plant::failing, Plant::failing).await?;
    let number = of(&story.incidents().await?, "m2")["incident_id"].to_string();
    story.stage.ask(&["incidents", "ack", &number]).await?;
    let back = story.stage.ask(&["machines", "return", "works/m2"]).await?["suppression"].clone();
    assert_eq!(back["released_page_key"], Value::Null, "somebody has it: {back:#}");
    let back = story.stage.ask(&["machines", "return", "works/m1"]).await?["suppression"].clone();
    assert!(back["released_page_key"].is_string(), "{back:#}");
    let of_m1 = |pages: &[Value]| actions(pages, "m1") == ["trigger"];
    story.stage.receiver.wait_until("m1 is back", of_m1).await?;
    let refused = story
        .stage
        .ask(&["machines", "return", "works/m1"])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("a machine that is in service can't be returned"),
        "{refused}"
    );

    // Nobody was told of m2, so nobody hears that it is well.
    story.runs(30, Plant::healthy, Plant::healthy).await?;
    let over = |pages: &[Value]| actions(pages, "m1") == ["trigger", "resolve"];
    let pages = story.stage.receiver.wait_until("both are well", over).await?;
    assert_eq!(of(&story.incidents().await?, "m2")["state"], "normal");
    assert_eq!(actions(&pages, "m2"), [""; 0]);
    assert!(story.stage.ask(&["audit", "verify"]).await?["audit"]["intact"] == true);
    let number = of(&story.incidents().await?, "m1")["incident_id"].to_string();
    story.stage.ask(&["incidents", "label", &number, "false-alarm"]).await?;
    one_false_page_was_told_and_one_kept(&story).await?;
    story.stage.stop().await
}

/// What the report on alarms and pages says after two incidents, one of them told, and that a false alarm.
async fn one_false_page_was_told_and_one_kept(story: &Story) -> Result<()> {
    let (from, to) = (Plant::start(), Plant::start() + Duration::from_hours(48));
    let (from, to) = (from.to_string(), to.to_string());
    let period = [
        "incidents",
        "performance",
        "--site",
        "works",
        "--from",
        &from,
        "--to",
        &to,
    ];
    let told = story.stage.ask(&period).await?["performance"].clone();
    assert_eq!(
        (&told["alarms"], &told["pages_told"]),
        (&2.into(), &1.into()),
        "{told:#}"
    );
    assert_eq!(
        (&told["pages_suppressed"], &told["pages_released"]),
        (&1.into(), &1.into()),
        "{told:#}"
    );
    assert_eq!(told["false_pages"]["incidents"], 1, "{told:#}");
    assert_eq!(told["destinations"][0]["most_in_a_week"], 1, "{told:#}");
    let table = story.stage.say(&period).await?;
    let figure = table
        .lines()
        .find(|line| line.starts_with("alarms per 10 min"))
        .unwrap_or_default();
    assert!(
        figure.contains("at most 1, manageable up to 2") && figure.contains("within"),
        "{table}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_is_no_longer_than_its_site_allows_and_an_incident_is_commented_on_and_handed_over() -> Result<()> {
    let mut story = Story::begin().await?;
    let refusals = [
        ("25h", "noise", "for_s: 90000 s is not between 1 s and 86400 s"),
        ("1h", " ", "reason: is missing"),
    ];
    for (lasting, reason, says) in refusals {
        let order = ["machines", "shelve", "works/m1", "--for", lasting, "--reason", reason];
        let refused = story.stage.ask(&order).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }

    let made = ["accounts", "create", "bo", "--role", "operator", "--all-sites"];
    story.stage.ask(&made).await?;
    story.runs(20, Plant::failing, Plant::healthy).await?;
    let number = of(&story.incidents().await?, "m1")["incident_id"].to_string();
    let hand_over = [
        "incidents",
        "hand-over",
        &number,
        "--to",
        "bo",
        "--note",
        "end of shift",
    ];
    let refused = story.stage.ask(&hand_over).await.unwrap_err().to_string();
    assert!(
        refused.contains("active_unacknowledged can't be handed over"),
        "{refused}"
    );
    story.stage.ask(&["incidents", "ack", &number]).await?;
    let nobody = ["incidents", "hand-over", &number, "--to", "nobody"];
    let refused = story.stage.ask(&nobody).await.unwrap_err().to_string();
    assert!(
        refused.contains("to: \"nobody\" is no account of an operator"),
        "{refused}"
    );
    let handed = story.stage.ask(&hand_over).await?["incident"].clone();
    assert_eq!(handed["acknowledged_by"], "bo");
    story
        .stage
        .ask(&["incidents", "comment", &number, "play in the outer race"])
        .await?;
    let whole = story.stage.ask(&["incidents", "show", &number]).await?["incident"].clone();
    let events = list(&whole, "events");
    let said = |kind: &str| {
        events
            .iter()
            .find(|event| event["kind"] == kind)
            .map(|event| event["payload"].clone())
    };
    assert_eq!(said("commented").unwrap_or_default()["text"], "play in the outer race");
    assert_eq!(said("handed_over").unwrap_or_default()["note"], "end of shift");
    story.stage.stop().await
}
