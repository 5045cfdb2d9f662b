//! Alarm limits where a site asks for a second person: proposed by one, approved by another, by the command line, the JSON API and
//! the console; and taken back by one.

use anyhow::{Context, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tocsin_tests::Stage;
use tocsin_tests::binary::CommandLine;
use tocsin_tests::stage::{CLASS, SITE};
use tocsin_transport::auth::Token;

/// Somebody with an account, who signed in by the command line.
struct Person {
    tocsin: CommandLine,
    token: Token,
}

async fn person(stage: &Stage, name: &str, role: &str, sees: &[&str]) -> Result<Person> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| -> Result<String> {
        let path = folder.path().join(name);
        Ok(path.to_str().context("a path")?.to_owned())
    };
    let create = ["accounts", "create", name, "--role", role];
    let made = stage.ask(&[&create[..], sees].concat()).await?;
    let (password, session) = (file("password")?, file("session")?);
    std::fs::write(&password, made["account"]["password"].as_str().context("a password")?)?;
    let files = ["--password-file", &password, "--session-file", &session];
    let said = stage
        .ask(&[&["accounts", "sign-in", name][..], &files].concat())
        .await?;
    assert_eq!(said["session"]["name"], name, "{said:#}");
    let token = Token::parse(std::fs::read_to_string(&session)?.trim()).context("the session")?;
    let target = format!("http://{}", stage.running.grpc_addr());
    Ok(Person {
        tocsin: CommandLine::new(target, token.clone()),
        token,
    })
}

/// The set as a person sees it in the console.
async fn page(stage: &Stage, person: &Person, set: &str) -> Result<String> {
    let console = stage.running.console_addr().context("a console")?;
    let request = Client::new()
        .get(format!("http://{console}/limits/{set}"))
        .header("cookie", format!("tocsin_session={}", person.token.expose()));
    let answer = request.send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(answer.text().await?)
}

/// The same as a program is told.
async fn told(stage: &Stage, person: &Person, set: &str) -> Result<Value> {
    let console = stage.running.console_addr().context("a console")?;
    let call = "tocsin.recalibrator.v1.RecalibratorService/GetThresholdSet";
    let request = Client::new()
        .post(format!("http://{console}/api/v1/{call}"))
        .bearer_auth(person.token.expose())
        .json(&json!({ "threshold_set_id": set.parse::<i32>()? }));
    let answer: Value = request.send().await?.json().await?;
    Ok(answer["threshold_set"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_site_asks_for_it_limits_come_into_force_only_after_another_person_approved_them() -> Result<()> {
    let stage = Stage::judging().await?;
    let ana = person(&stage, "ana", "engineer", &["--all-sites"]).await?;
    let bo = person(&stage, "bo", "engineer", &["--site", SITE]).await?;
    let ada = person(&stage, "ada", "admin", &["--site", SITE]).await?;
    let asks = ["sites", "second-approval", SITE, "on", "--reason", "four eyes"];
    assert!(
        bo.tocsin.ask(&asks).await.is_err(),
        "an engineer doesn't change what a site asks for"
    );
    let site = ada.tocsin.ask(&asks).await?;
    assert_eq!(site["site"]["second_approval"], true, "{site:#}");

    let propose = [
        "thresholds",
        "propose",
        "--class",
        CLASS,
        "--method",
        "tail",
        "--reason",
        "quieter",
    ];
    let proposed = ana.tocsin.ask(&propose).await?;
    let set = proposed["threshold_set"]["threshold_set_id"].to_string();
    let test = ["thresholds", "test", &set];
    let approve = ["thresholds", "approve", &set, "--reason", "the what-if shows it"];
    let activate = ["thresholds", "activate", &set, "--reason", "agreed"];
    assert!(ana.tocsin.ask(&activate).await.is_err(), "its what-if has not run");
    ana.tocsin.ask(&test).await?;

    // Who asked can't approve, and nobody can activate before somebody else has.
    let needed = format!("an engineer or admin of {SITE}, other than ana");
    for refused in [
        ana.tocsin.ask(&approve).await,
        ana.tocsin.ask(&activate).await,
        stage.ask(&activate).await,
    ] {
        let error = format!("{:#}", refused.err().context("it is refused")?);
        assert!(error.contains(&set), "{error}");
    }
    let waits = told(&stage, &ana, &set).await?;
    assert_eq!(
        (
            &waits["asked_by"],
            &waits["approval_needed"],
            &waits["approval_needed_at"]
        ),
        (&json!("ana"), &json!(needed), &json!([SITE])),
        "{waits:#}"
    );
    let form = format!("action=\"/limits/{set}/approve\"");
    let shown = page(&stage, &ana, &set).await?;
    assert!(shown.contains(&needed) && !shown.contains(&form), "{shown}");
    assert!(page(&stage, &bo, &set).await?.contains(&form));

    let approved = bo.tocsin.ask(&approve).await?["threshold_set"].take();
    assert_eq!(
        (
            &approved["state"],
            &approved["approvals"][0]["by"],
            &approved["approval_needed"]
        ),
        (&json!("approved"), &json!("bo"), &Value::Null),
        "{approved:#}"
    );
    let active = ana.tocsin.ask(&activate).await?;
    assert_eq!(active["threshold_set"]["state"], "active");
    assert!(
        page(&stage, &ana, &set)
            .await?
            .contains("Approved by <strong>bo</strong>")
    );

    // Back by one person alone.
    let back = ana
        .tocsin
        .ask(&["thresholds", "rollback", CLASS, "--reason", "too quiet"])
        .await?;
    assert_eq!(back["threshold_set"]["state"], "active");
    assert_ne!(back["threshold_set"]["threshold_set_id"].to_string(), set);
    let done: Vec<(String, String)> = sqlx::query_as(
        "select actor, action from audit where subject = $1 or action = 'site.set_second_approval' order by audit_id",
    )
    .bind(format!("threshold_set:{set}"))
    .fetch_all(stage.store.pool())
    .await?;
    let done: Vec<_> = done
        .iter()
        .map(|(actor, action)| (actor.as_str(), action.as_str()))
        .collect();
    assert_eq!(
        done,
        [
            ("ada", "site.set_second_approval"),
            ("ana", "threshold_set.propose"),
            ("ana", "threshold_set.tested"),
            ("bo", "threshold_set.approved"),
            ("ana", "threshold_set.activate"),
        ]
    );
    stage.stop().await
}
