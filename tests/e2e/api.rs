//! The JSON API: what it answers, what it refuses and how it says so, and schemathesis against its description.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tocsin_tests::stage::SITE;
use tocsin_tests::{Plant, Stage, tools};

/// How long schemathesis may take before it counts as stuck: half a minute, and far longer where much else runs.
const BOUND: Duration = Duration::from_mins(8);

struct Api {
    client: Client,
    base: String,
    session: String,
}

impl Api {
    /// With the session of an engineer of every site, begun by the API itself.
    async fn of(stage: &Stage) -> Result<Self> {
        let mut api = Self {
            client: Client::new(),
            base: format!("http://{}/api/v1", stage.running.console_addr().context("a console")?),
            session: String::new(),
        };
        let made = stage
            .ask(&["accounts", "create", "erik", "--role", "engineer", "--all-sites"])
            .await?;
        let sign_in = json!({ "name": "erik", "password": made["account"]["password"] });
        let (status, answer) = api.ask("access.v1.AccessService/SignIn", sign_in).await?;
        assert_eq!(status, StatusCode::OK, "{answer:#}");
        api.session = answer["session"].as_str().context("a session")?.to_owned();
        Ok(api)
    }

    async fn ask(&self, call: &str, message: Value) -> Result<(StatusCode, Value)> {
        let mut request = self.client.post(format!("{}/tocsin.{call}", self.base)).json(&message);
        if !self.session.is_empty() {
            request = request.bearer_auth(&self.session);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.json().await?))
    }
}

async fn judged() -> Result<Stage> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    for n in 0..45 {
        let bins = if n < 30 { Plant::healthy(n) } else { Plant::failing(n) };
        publisher.publish(vec![Plant::reading("m1/h", n, bins)]).await?;
    }
    stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_console_shows_is_answered_as_json_and_what_is_wrong_is_named() -> Result<()> {
    let stage = judged().await?;
    let api = Api::of(&stage).await?;
    let (status, answer) = api
        .ask("incidents.v1.IncidentsService/ListIncidents", json!({ "site": SITE }))
        .await?;
    assert_eq!(status, StatusCode::OK, "{answer:#}");
    let incident = &answer["incidents"][0];
    assert_eq!(
        (&incident["machine"], &incident["incident_id"]),
        (&json!("m1"), &json!("1")),
        "{answer:#}"
    );
    let page = api
        .ask(
            "incidents.v1.IncidentsService/GetIncident",
            json!({ "incident_id": "1" }),
        )
        .await?;
    assert_eq!(page.0, StatusCode::OK, "{:#}", page.1);

    let cases = [
        (
            "fleet.v1.FleetService/ListMachines",
            json!({ "site": "Not a name" }),
            400,
            Some("site"),
        ),
        (
            "fleet.v1.FleetService/ListMachines",
            json!({ "sight": "x" }),
            400,
            Some("sight"),
        ),
        (
            "incidents.v1.IncidentsService/GetIncident",
            json!({ "incident_id": "x" }),
            400,
            Some("incident_id"),
        ),
        (
            "incidents.v1.IncidentsService/GetIncident",
            json!({ "incident_id": 99 }),
            404,
            None,
        ),
        ("access.v1.AccessService/ListAccounts", json!({}), 403, None),
        ("access.v1.AccessService/NoSuchCall", json!({}), 404, None),
    ];
    for (call, message, expected, field) in cases {
        let (status, problem) = api.ask(call, message.clone()).await?;
        assert_eq!(status.as_u16(), expected, "{call} {message}: {problem:#}");
        assert_eq!(problem["field"].as_str(), field, "{call} {message}: {problem:#}");
        assert!(
            problem["code"].is_string() && problem["message"].is_string(),
            "{problem:#}"
        );
        assert_eq!(problem["reason"].is_string(), field.is_some(), "{problem:#}");
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_counts_from_the_consoles_own_pages_alone() -> Result<()> {
    let stage = Stage::start().await?;
    let api = Api::of(&stage).await?;
    let origin = api.base.trim_end_matches("/api/v1");
    let address = format!("{}/tocsin.access.v1.AccessService/WhoAmI", api.base);
    for (from, expected) in [(Some(origin), 200), (Some("https://evil.example"), 403), (None, 403)] {
        let mut request = api
            .client
            .post(&address)
            .header("cookie", format!("tocsin_session={}", api.session))
            .body("{}");
        if let Some(from) = from {
            request = request.header("origin", from);
        }
        assert_eq!(request.send().await?.status(), expected, "{from:?}");
    }
    for bearer in ["", "tocsin_session_nobody"] {
        let answer = api
            .client
            .post(&address)
            .header("authorization", format!("Bearer {bearer}"))
            .send()
            .await?;
        assert_eq!(answer.status(), 401, "{bearer:?}");
    }
    assert_eq!(api.client.post(&address).send().await?.status(), 401);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_outside_the_description_and_no_server_error() -> Result<()> {
    let Some(python) = tools::python_with(&["schemathesis"]) else {
        return Ok(());
    };
    let stage = judged().await?;
    let api = Api::of(&stage).await?;
    let folder = tempfile::tempdir()?;
    let mut command = tokio::process::Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run", &format!("{}/openapi.json", api.base)])
        .args(["--header", &format!("Authorization: Bearer {}", api.session)])
        // The session is needed to the end.
        .args(["--exclude-path-regex", "/SignOut$"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args([
            "--phases",
            "fuzzing",
            "--max-examples",
            "4",
            "--seed",
            "1",
            "--no-shrink",
            "--continue-on-failure",
        ])
        .args([
            "--suppress-health-check",
            "all",
            "--request-timeout",
            "10",
            "--warnings",
            "off",
        ])
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ran = tokio::time::timeout(BOUND, command.output())
        .await
        .context("schemathesis took too long")??;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let tested = said
        .lines()
        .find(|line| line.contains("Tested"))
        .context("nothing was tested")?;
    println!("{tested}");
    stage.stop().await
}
