//! From an empty platform to the first reading by the first-run page alone: an administrator is led there, and the commands are run as the
//! page has them, each ticked while the page is open.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use tocsin_tests::stage::{CLASS, SITE, SPEC};
use tocsin_tests::{Browser, Stage, binary};
use tokio::task::block_in_place;

const NAME: &str = "ada";

/// An administrator, with what they sign in with.
struct Admin {
    client: Client,
    console: String,
    password: String,
    session: String,
}

impl Admin {
    async fn of(stage: &Stage) -> Result<Self> {
        let create = ["accounts", "create", NAME, "--role", "admin", "--all-sites"];
        let made = stage.ask(&create).await?;
        let password = made["account"]["password"].as_str().context("a password")?.to_owned();
        let console = format!("http://{}", stage.running.console_addr().context("a console")?);
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("password"), &password)?;
        let (given, kept) = (file("password"), file("session"));
        let files = ["--password-file", given.as_str(), "--session-file", kept.as_str()];
        stage
            .ask(&[&["accounts", "sign-in", NAME][..], &files].concat())
            .await?;
        let session = std::fs::read_to_string(&kept)?.trim().to_owned();
        Ok(Self {
            client,
            console,
            password,
            session,
        })
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.client.get(format!("{}{path}", self.console));
        let cookie = format!("tocsin_session={}", self.session);
        Ok(request.header("cookie", cookie).send().await?)
    }

    async fn page(&self) -> Result<String> {
        let answer = self.get("/start").await?;
        assert_eq!(answer.status(), StatusCode::OK);
        Ok(answer.text().await?)
    }

    fn sign_in(&self, browser: &mut Browser) -> Result<()> {
        browser.open(&format!("{}/", self.console))?;
        browser.leave_by(&format!(
            "document.querySelector('[name=name]').value = {NAME:?};
             document.querySelector('[name=password]').value = {:?};
             document.querySelector('form').requestSubmit()",
            self.password
        ))
    }
}

/// The command in an element of the page.
fn command(page: &str, id: &str) -> Result<String> {
    let start = format!("<pre id=\"{id}\" data-copy><code>");
    let rest = page.split_once(&start).with_context(|| format!("{id} in {page}"))?.1;
    let text = rest.split_once("</code>").context("its end")?.0;
    Ok(text
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&"))
}

/// Runs commands as a person does who copies them into a shell.
async fn run(commands: &[String], folder: &Path, session: &str) -> Result<String> {
    let binary = binary::path()?;
    let tocsin = binary.parent().context("the binary's folder")?.display().to_string();
    let path = format!("{tocsin}:{}", std::env::var("PATH")?);
    let mut shell = tokio::process::Command::new("bash");
    shell
        .args(["-e", "-c", &commands.join("\n")])
        .current_dir(folder)
        .env("PATH", path)
        .env("TOCSIN_TOKEN", session)
        .stdin(Stdio::null());
    let output = shell.output().await.context("bash")?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{commands:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until the page that a browser has open, without being loaded again, ticks a step.
fn ticked(browser: &mut Browser, step: &str) -> Result<()> {
    let done = format!("document.querySelector('#step-{step}[data-done]') !== null && window.opened === 1");
    for _ in 0..300 {
        if browser.run(&done)? == true {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("{step} is not ticked: {:?}", browser.errors())
}

/// A platform of which nobody has said anything yet.
async fn empty() -> Result<Stage> {
    let stage = Stage::start().await?;
    for (statement, name) in [
        ("delete from site where name = $1", SITE),
        ("delete from machine_class where name = $1", CLASS),
        ("delete from spectrum_spec where name = $1", SPEC),
    ] {
        let deleted = sqlx::query(statement).bind(name).execute(stage.store.pool()).await?;
        ensure!(deleted.rows_affected() == 1, "{statement}");
    }
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_lead_from_nothing_to_the_first_reading_and_each_is_ticked() -> Result<()> {
    let stage = empty().await?;
    let ada = Admin::of(&stage).await?;
    let led = ada.get("/").await?;
    assert_eq!(led.status(), StatusCode::SEE_OTHER);
    assert_eq!(led.headers().get("location").context("a location")?.to_str()?, "/start");
    let page = ada.page().await?;
    let target = command(&page, "do-target")?;
    assert_eq!(
        target,
        format!("export TOCSIN_TARGET=http://{}", stage.running.grpc_addr())
    );
    // The stage has a receiver of pages, and nothing else.
    assert!(page.contains("1 of 7 steps done"), "{page}");
    let mut browser = block_in_place(Browser::start)?;
    if let Some(browser) = &mut browser {
        block_in_place(|| -> Result<()> {
            ada.sign_in(browser)?;
            ensure!(browser.text("location.pathname")? == "/start");
            browser.run("window.opened = 1")?;
            Ok(())
        })?;
    }

    let folder = tempfile::tempdir()?;
    for step in ["site", "class", "token", "reading"] {
        let page = ada.page().await?;
        ensure!(
            !page.contains(&format!("id=\"step-{step}\" data-done")),
            "{step}: {page}"
        );
        let commands = [target.clone(), command(&page, &format!("do-{step}"))?];
        let said = run(&commands, folder.path(), &ada.session).await?;
        if let Some(browser) = &mut browser {
            block_in_place(|| ticked(browser, step)).with_context(|| said.clone())?;
        }
        let page = ada.page().await?;
        assert!(
            page.contains(&format!("id=\"step-{step}\" data-done")),
            "{step}: {said}: {page}"
        );
    }
    let page = ada.page().await?;
    assert!(page.contains("id=\"step-machine\" data-done") && page.contains("6 of 7 steps done"));
    let fleet = ada.get("/").await?;
    assert_eq!(fleet.status(), StatusCode::OK);
    assert!(fleet.text().await?.contains("pump-1"));
    let stored: i64 = sqlx::query_scalar("select count(*) from reading")
        .fetch_one(stage.store.pool())
        .await?;
    assert_eq!(stored, 1);
    if let Some(browser) = &mut browser {
        assert_eq!(browser.errors(), Vec::<String>::new());
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_hears_of_a_step_by_an_event() -> Result<()> {
    let stage = empty().await?;
    let ada = Admin::of(&stage).await?;
    let mut stream = ada.get("/start/live").await?;
    assert_eq!(stream.status(), StatusCode::OK);
    let mut heard = String::new();
    let mut until = async |words: &str| -> Result<()> {
        while !heard.contains(words) {
            let chunk = tokio::time::timeout(Duration::from_mins(1), stream.chunk()).await;
            let chunk = chunk.with_context(|| format!("{words} in {heard}"))??;
            heard.push_str(&String::from_utf8_lossy(&chunk.context("the stream goes on")?));
        }
        Ok(())
    };
    until("data: 0000001").await?;
    stage
        .ask(&["sites", "create", "my-plant", "--auto-register-cap", "5"])
        .await?;
    until("data: 1000001").await?;
    stage.stop().await
}
