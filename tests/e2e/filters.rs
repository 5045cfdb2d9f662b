//! Filters of the incidents that people save, by forms and links alone: each has their own.

use anyhow::{Context, Result};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tocsin_tests::stage::SITE;
use tocsin_tests::{Plant, Stage};

/// A browser without scripts.
struct Person {
    client: Client,
    console: String,
    session: String,
}

impl Person {
    async fn of(stage: &Stage, name: &str) -> Result<Self> {
        let create = ["accounts", "create", name, "--role", "viewer", "--site", SITE];
        let made = stage.ask(&create).await?;
        let console = format!("http://{}", stage.running.console_addr().context("a console")?);
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let sign_in = json!({ "name": name, "password": made["account"]["password"] });
        let asked = client
            .post(format!("{console}/api/v1/tocsin.access.v1.AccessService/SignIn"))
            .json(&sign_in);
        let answer: Value = asked.send().await?.json().await?;
        let session = answer["session"].as_str().context("a session")?.to_owned();
        Ok(Self {
            client,
            console,
            session,
        })
    }

    async fn get(&self, path: &str) -> Result<String> {
        let request = self.client.get(format!("{}{path}", self.console));
        let answer = request
            .header("cookie", format!("tocsin_session={}", self.session))
            .send()
            .await?;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        Ok(answer.text().await?)
    }

    async fn post(&self, path: &str, origin: &str, form: &[(&str, &str)]) -> Result<Response> {
        let encoded = reqwest::Url::parse_with_params("http://form", form)?;
        let request = self
            .client
            .post(format!("{}{path}", self.console))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", origin)
            .header("cookie", format!("tocsin_session={}", self.session))
            .body(encoded.query().unwrap_or_default().to_owned());
        Ok(request.send().await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_saves_what_is_shown_finds_it_again_and_nobody_else_does() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    for n in 0..45 {
        let bins = if n < 30 { Plant::healthy(n) } else { Plant::failing(n) };
        publisher.publish(vec![Plant::reading("m1/h", n, bins)]).await?;
    }
    stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    let (ana, bo) = (Person::of(&stage, "ana").await?, Person::of(&stage, "bo").await?);
    let row = "href=\"/incidents/1\"";
    let pages = "/incidents?show=open&site=works&severity=page";
    assert!(ana.get(pages).await?.contains(row));
    assert!(!ana.get("/incidents?severity=alert").await?.contains(row));

    let form = [
        ("name", "night & day"),
        ("show", "open"),
        ("site", SITE),
        ("severity", "page"),
    ];
    let saved = ana.post("/incidents/filters", &ana.console, &form).await?;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        saved.headers().get("location").context("a location")?.to_str()?,
        pages,
        "back to what was shown"
    );
    let link = format!("href=\"{}\"", pages.replace('&', "&amp;"));
    let shown = ana.get("/incidents").await?;
    assert!(shown.contains(&link) && shown.contains("night &amp; day"), "{shown}");
    assert!(!bo.get("/incidents").await?.contains("night &amp; day"));

    // Another's page can't have it done, another person neither.
    let elsewhere = ana
        .post("/incidents/filters", "https://elsewhere.example", &form)
        .await?;
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    let name = [("name", "night & day")];
    let not_his = bo.post("/incidents/filters/delete", &bo.console, &name).await?;
    assert_eq!(not_his.status(), StatusCode::NOT_FOUND);
    let long = [("name", "x".repeat(61))];
    let long = long.each_ref().map(|(name, value)| (*name, value.as_str()));
    let too_long = bo.post("/incidents/filters", &bo.console, &long).await?;
    assert_eq!(too_long.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(too_long.text().await?.contains("1 to 60"));

    let deleted = ana.post("/incidents/filters/delete", &ana.console, &name).await?;
    assert_eq!(deleted.status(), StatusCode::SEE_OTHER);
    assert!(!ana.get("/incidents").await?.contains("night &amp; day"));
    stage.stop().await
}
