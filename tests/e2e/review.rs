//! A bearing's life is replayed to its end, and its incident reviewed: read in a browser, labelled, made final and taken along in every
//! format, each of which is read back and held against the log.

mod files;
mod lives;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{Account, CreateAccountRequest};
use tocsin_tests::{Browser, Stage, tools};
use tokio::task::block_in_place;

const PASSWORD: &str = "a long password of olga's";

async fn operator(stage: &Stage) -> Result<()> {
    let account = Account {
        name: "olga".to_owned(),
        role: "operator".to_owned(),
        all_sites: true,
        ..Account::default()
    };
    let request = CreateAccountRequest {
        account: Some(account),
        password: PASSWORD.to_owned(),
    };
    AccessServiceClient::new(stage.running.service_channel())
        .create_account(request)
        .await?;
    Ok(())
}

/// In the browser: signs in, reads the review, writes, labels and makes it final; the digest that the page then shows.
fn review_in(browser: &mut Browser, console: &str, id: i64) -> Result<String> {
    browser.open(&format!("{console}/incidents/{id}/review"))?;
    browser.leave_by(&format!(
        "document.querySelector('[name=name]').value = 'olga'; document.querySelector('[name=password]').value = {PASSWORD:?};
         document.querySelector('form').requestSubmit()"
    ))?;
    let shown = browser.text("document.querySelector('main').innerText")?;
    for words in [
        "not begun",
        "Course",
        "Deviation by frequency",
        "correlation, not a diagnosis",
        "Peers",
        "Record",
    ] {
        ensure!(shown.contains(words), "{words} is missing in {shown}");
    }
    ensure!(browser.run("document.querySelectorAll('.plot image[href^=\"data:image/png\"]').length")? == 1);
    slides(browser)?;

    let send = |form: &str, fields: &str, button: &str| {
        format!("{fields} document.querySelector('form[action$=\"{form}\"]').requestSubmit({button})")
    };
    let label = "document.querySelector('#label').value = 'true_failure'; document.querySelector('#mode').value = 'outer_race';";
    browser.leave_by(&send("/review/label", label, ""))?;
    let comment = "document.querySelector('#comment').value = 'It <b>rattles</b>.';";
    browser.leave_by(&send("/review/comment", comment, ""))?;
    let text = "document.querySelector('#findings').value = 'The outer ring is worn.';";
    browser.leave_by(&send("/review", text, "document.querySelector('[value=save]')"))?;
    ensure!(browser.text("document.querySelector('#findings').value")? == "The outer ring is worn.");
    let conclusion = "document.querySelector('#conclusion').value = 'Replace it.';
        document.querySelector('#open-because').value = 'the bearing is destroyed';";
    browser.leave_by(&send(
        "/review",
        conclusion,
        "document.querySelector('[value=finalise]')",
    ))?;
    let shown = browser.text("document.querySelector('main').innerText")?;
    for words in [
        "final",
        "Replace it.",
        "true failure, outer_race",
        "It <b>rattles</b>.",
        "the bearing is destroyed",
    ] {
        ensure!(shown.contains(words), "{words} is missing in {shown}");
    }
    ensure!(
        browser.run("document.querySelector('#findings')")?.is_null(),
        "it can't be written any more"
    );
    let errors = browser.errors();
    ensure!(errors.is_empty(), "on the console: {errors:#?}");
    browser.text("document.querySelector('#digest').textContent")
}

/// The slider leads to another spectrum.
fn slides(browser: &mut Browser) -> Result<()> {
    let drawn = "document.querySelector('#slider path.observed').getAttribute('d')";
    let before = browser.text(drawn)?;
    browser.run(
        "(() => { const input = document.querySelector('#slide input'); input.value = 0; input.dispatchEvent(new Event('input')); })()",
    )?;
    ensure!(browser.text(drawn)? != before, "the slider changes nothing");
    ensure!(
        browser
            .text("document.querySelector('#captured').textContent")?
            .contains("before the incident")
    );
    Ok(())
}

/// The review in every format, as the command line writes it.
async fn exports(stage: &Stage, id: i64, folder: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let (mut files, number) = (BTreeMap::new(), id.to_string());
    for format in ["html", "csv", "parquet", "json"] {
        let file = folder.join(format!("review.{format}"));
        let out = file.to_str().context("the path")?;
        stage
            .ask(&["incidents", "review", "export", &number, "--out", out])
            .await?;
        files.insert(format, file);
    }
    Ok(files)
}

/// The file stands alone: no network, no error, and its slider works.
fn html_stands_alone(browser: &mut Browser, file: &Path, digest: &str) -> Result<()> {
    browser.go_offline()?;
    browser.requests();
    browser.open(&format!("file://{}", file.display()))?;
    let shown = browser.text("document.body.innerText")?;
    for words in [
        digest,
        "The outer ring is worn.",
        "Replace it.",
        "It <b>rattles</b>.",
        "outer_race",
        " UTC",
    ] {
        ensure!(shown.contains(words), "{words} is missing in {shown}");
    }
    ensure!(browser.run("document.querySelectorAll('form, a[href^=\"/\"], nav, link').length")? == 0);
    ensure!(
        browser.run("document.querySelectorAll('.plot > svg').length")? == 7,
        "its charts"
    );
    slides(browser)?;
    let (requests, errors) = (browser.requests(), browser.errors());
    ensure!(
        requests.iter().all(|url| url.starts_with("file:")),
        "it asks for {requests:#?}"
    );
    ensure!(errors.is_empty(), "on the console: {errors:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_life_is_reviewed_in_a_browser_made_final_and_exported_as_it_was_logged() -> Result<()> {
    let (Some(mut browser), Some(python)) = (block_in_place(Browser::start)?, tools::python_with(&["duckdb"])) else {
        return Ok(());
    };
    let (stage, id) = lives::replayed().await?;
    operator(&stage).await?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    let digest = block_in_place(|| review_in(&mut browser, &console, id))?;

    let folder = tempfile::tempdir()?;
    let files = exports(&stage, id, folder.path()).await?;
    let document = files::json_is_the_log(&stage, id, &files["json"], &digest).await?;
    files::csv_is_the_log(&stage, &files["csv"], &document, &digest).await?;
    files::parquet_is_the_document(&python, &files["parquet"], &document, &digest)?;
    // What the page links to is the same file.
    let fetched = format!("fetch('/incidents/{id}/review/export.json').then((answer) => answer.text())");
    let fetched = block_in_place(|| browser.text(&fetched))?;
    assert_eq!(fetched, std::fs::read_to_string(&files["json"])?);
    block_in_place(|| html_stands_alone(&mut browser, &files["html"], &digest))?;
    drop(browser);

    let shown = stage.ask(&["incidents", "review", "show", &id.to_string()]).await?;
    assert_eq!(shown["review"]["digest"], digest.as_str());
    stage.stop().await
}
