//! The binary as a script sees it: exit codes, and what goes where.

use std::path::Path;
use std::process::{Command, Output};

/// In an environment of its own, so that a developer's variables and data folder don't matter.
fn tocsin(arguments: &[&str]) -> Output {
    tocsin_in(Path::new("."), arguments)
}

/// The same, begun in a folder.
fn tocsin_in(folder: &Path, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temp folder");
    Command::new(env!("CARGO_BIN_EXE_tocsin"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", home.path())
        .env("TOCSIN_DATA_DIR", home.path())
        .output()
        .expect("the binary runs")
}

fn told(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn wrong_usage_exits_with_2_and_a_failure_with_1() {
    assert_eq!(tocsin(&["tokens", "create"]).status.code(), Some(2));
    let failed = tocsin(&["tokens", "list", "--site", "lisbon"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stdout.is_empty());
    assert_eq!(told(&failed).lines().count(), 1, "{}", told(&failed));
    assert!(told(&failed).contains("--token-file"), "{}", told(&failed));
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "some-token").expect("written");
    let token = token.to_str().expect("text");
    // Port 9 (discard) is below those a test may be given.
    let failed = tocsin(&[
        "models",
        "list",
        "--format",
        "json",
        "--target",
        "http://127.0.0.1:9",
        "--token-file",
        token,
    ]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stdout.is_empty());
    assert!(
        told(&failed).contains("127.0.0.1:9") && told(&failed).contains("--target"),
        "{}",
        told(&failed)
    );
}

#[test]
fn the_configuration_is_printed_and_a_bad_one_is_refused_with_its_place() {
    let printed = tocsin(&["config"]);
    assert!(printed.status.success());
    assert!(String::from_utf8_lossy(&printed.stdout).contains("[server]"));

    let folder = tempfile::tempdir().expect("a temp folder");
    let file = folder.path().join("tocsin.toml");
    std::fs::write(&file, "[server]\nlisen = '127.0.0.1:1'\n").expect("written");
    let failed = tocsin(&["serve", "--role", "scorer", "--config", file.to_str().expect("text")]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        told(&failed).contains("line 2") && told(&failed).contains("lisen"),
        "{}",
        told(&failed)
    );
}

#[test]
fn a_postgres_that_is_down_is_told_and_waited_for_so_long_and_no_longer() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let file = folder.path().join("tocsin.toml");
    let text = "[database]\nurl = 'postgres://tocsin:hush@127.0.0.1:9/x'\nconnect_deadline_ms = 800\nacquire_timeout_ms = 100\n\
                [access]\nservice_credential_file = 'CREDENTIAL'\n";
    let credential = folder.path().join("credential");
    std::fs::write(&credential, "0123456789abcdef0123456789abcdef").expect("written");
    std::fs::write(&file, text.replace("CREDENTIAL", credential.to_str().expect("text"))).expect("written");
    let failed = tocsin(&["serve", "--role", "review", "--config", file.to_str().expect("text")]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(told(&failed).contains("waiting for postgres"), "{}", told(&failed));
    assert!(
        told(&failed).contains("127.0.0.1:9 did not answer"),
        "{}",
        told(&failed)
    );
    assert!(!told(&failed).contains("hush"));
}

#[test]
fn a_corpus_that_is_not_the_usual_has_its_specification_beside_it() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let corpus = folder.path().join("fleet.parquet");
    let beside = folder.path().join("fleet.parquet.spec.json");
    let corpus = corpus.to_str().expect("text");
    let simulate = |further: &[&str]| {
        let usual = [
            "simulate",
            "--machines",
            "3",
            "--days",
            "0.5",
            "--interval",
            "120",
            "--seed",
            "1",
            "--out",
            corpus,
        ];
        let done = tocsin(&[&usual, further].concat());
        assert!(done.status.success(), "{}", told(&done));
    };
    simulate(&["--axis", "orders", "--averages", "4"]);
    let spec = std::fs::read_to_string(&beside).expect("the specification");
    assert!(
        spec.contains("\"axis\": \"orders\"") && spec.contains("\"averages\": 4"),
        "{spec}"
    );
    let inject = ["evaluate", "inject", "--corpus", corpus, "--bins", "1", "--db", "20"];
    let inject = [&inject[..], &["--readings", "10", "--step", "120"]].concat();
    assert!(tocsin(&inject).status.success());
    std::fs::write(&beside, spec.replace("orders", "octaves")).expect("written");
    let failed = tocsin(&inject);
    assert!(
        told(&failed).contains("fleet.parquet.spec.json") && told(&failed).contains("octaves"),
        "{}",
        told(&failed)
    );
    simulate(&[]);
    assert!(!beside.exists(), "the usual needs none");
}

/// Makes a small corpus of a simulated fleet: `fleet.parquet`.
fn simulated(folder: &Path) {
    let made = "simulate --machines 5 --days 0.2 --interval 120 --seed 1 --out fleet.parquet";
    let done = tocsin_in(folder, &made.split(' ').collect::<Vec<_>>());
    assert!(done.status.success(), "{}", told(&done));
}

#[test]
fn a_bundle_that_the_registry_does_not_take_is_kept() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let here = folder.path();
    simulated(here);
    std::fs::write(here.join("token"), "some-token").expect("written");
    let train = "train --corpus fleet.parquet --class pump --variant pca --split-by machine --register \
                 --target http://127.0.0.1:9 --token-file token";
    let train = |more: &[&str]| {
        let words: Vec<&str> = train.split_whitespace().chain(more.iter().copied()).collect();
        let failed = tocsin_in(here, &words);
        assert_eq!(failed.status.code(), Some(1), "{}", told(&failed));
        assert!(told(&failed).contains("127.0.0.1:9"), "{}", told(&failed));
        told(&failed).to_owned()
    };
    let whole = |folder: &Path| folder.join("manifest.json").is_file() && folder.join("suspects.json").is_file();

    let error = train(&["--out", "bundle"]);
    assert!(error.contains("the bundle is kept in bundle, "), "{error}");
    assert!(whole(&here.join("bundle")));

    let error = train(&[]);
    let (_, name) = error.split_once("kept in ").expect("a place");
    let (name, _) = name.split_once(',').expect("its end");
    assert!(name.starts_with("pump-") && whole(&here.join(name)), "{error}");

    let failed = tocsin_in(
        here,
        &["train", "--corpus", "fleet.parquet", "--class", "pump", "--register"],
    );
    assert!(told(&failed).contains("no credential"), "{}", told(&failed));
}

#[test]
fn decoded_spectra_are_read_back_in_the_unit_of_their_bundle() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let here = folder.path();
    simulated(here);
    let spec = r#"{"axis": "orders", "f_min": 0.0, "f_max": 128.0, "bins": 64, "quantity": "velocity", "unit": "inch_per_second",
        "amplitude": "rms", "aggregation": "mean", "window": "hann", "averages": 1, "full_scale": 10.0, "s0": 0.001}"#;
    std::fs::write(here.join("velocity.json"), spec).expect("written");
    let run = |line: &str| tocsin_in(here, &line.split_whitespace().collect::<Vec<_>>());
    let done = |line: &str| {
        let done = run(line);
        assert!(done.status.success(), "{}", told(&done));
    };
    done(
        "train --corpus fleet.parquet --spec velocity.json --class pump --split-by machine --objective variational --epochs 1 \
         --out bundle",
    );
    let failed = run("models sample bundle --out draws.parquet");
    assert!(
        told(&failed).contains("--spec says what the bundle's spectra are"),
        "{}",
        told(&failed)
    );
    assert!(!here.join("draws.parquet").exists());

    done("models sample bundle --spec velocity.json --out draws.parquet --plot draws.html");
    let page = std::fs::read_to_string(here.join("draws.html")).expect("a page");
    assert!(
        page.contains("orders"),
        "bins are counted along what the specification says"
    );
    let beside = std::fs::read_to_string(here.join("draws.parquet.spec.json")).expect("a specification");
    for words in ["\"orders\"", "\"millimetre_per_second\"", "\"peak\""] {
        assert!(beside.contains(words), "{beside}");
    }
    // A corpus of another unit, scale or number of bins is refused.
    done("models interpolate bundle --corpus draws.parquet --from 1 --to 32 --steps 32 --out path.parquet");
    done("models sample bundle --corpus path.parquet --split decoded --count 5 --out again.parquet");
    let failed = run("models interpolate bundle --corpus fleet.parquet --from 1 --to 2 --out path.parquet");
    assert!(told(&failed).contains("--corpus: full_scale"), "{}", told(&failed));
}
