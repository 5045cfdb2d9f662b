//! The verifier's child process for real: this program starts itself as the child, and the limits have to hold.
//!
//! Without the usual harness, because the child's standard output must hold the report and nothing else.

use std::fs::File;
use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

use tempfile::NamedTempFile;
use tocsin_domain::BundleDigest;
use tocsin_registry::verify::{Config, Error, Report, Verifier, child, child_with};

const TEST_NAME: &str = "the_limits_hold_whatever_the_child_does";
const MIB: u64 = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("child") => child(stdin(), stdout()),
        Some("child-that") => child_with(stdin(), stdout(), |archive| misbehave(&args[1], archive)),
        // What test runners ask before they run anything.
        Some("--list") => {
            if !args.iter().any(|arg| arg == "--ignored") {
                println!("{TEST_NAME}: test");
            }
            Ok(())
        }
        _ => {
            the_limits_hold_whatever_the_child_does();
            println!("test {TEST_NAME} ... ok");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn misbehave(how: &str, archive: &[u8]) -> Report {
    match how {
        "allocates" => drop(std::hint::black_box(vec![1_u8; 512 << 20])),
        "computes" => {
            let mut sum = 0_u64;
            while sum != u64::MAX {
                sum = std::hint::black_box(sum + 2) & !1;
            }
        }
        "writes" => {
            let path = std::env::temp_dir().join(format!("tocsin-verify-{}", std::process::id()));
            let written = File::create(&path).and_then(|mut file| file.write_all(&[0; 4096]));
            let removed = std::fs::remove_file(&path);
            return Report::Rejected {
                reason: format!("wrote {:?} {:?}", written.is_ok(), removed.is_ok()),
            };
        }
        "panics" => panic!("index 7 is out of bounds"),
        _ => {
            return Report::Rejected {
                reason: format!("read {} bytes", archive.len()),
            };
        }
    }
    Report::Passed {
        digest: BundleDigest([0; 32]),
        operators: [].into(),
        parameters: 0,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn the_limits_hold_whatever_the_child_does() {
    let limits = Config {
        memory_bytes: 256 * MIB,
        cpu_s: 1,
        ..Config::default()
    };
    let mut archive = NamedTempFile::new().expect("a scratch file");
    archive.write_all(&[7; 4096]).expect("writing it");
    let attempt = async |args: &[&str], limits: &Config| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let verifier = Verifier::new(Config { args, ..limits.clone() }).expect("this binary is there");
        verifier.run(archive.path()).await
    };
    let run = async |args: &[&str], limits: &Config| match attempt(args, limits).await.expect("the child runs") {
        Report::Rejected { reason } => reason,
        passed @ Report::Passed { .. } => panic!("passed: {passed:?}"),
    };

    assert_eq!(run(&["child-that", "reads"], &limits).await, "read 4096 bytes");
    let garbage = run(&["child"], &limits).await;
    assert!(garbage.contains("archive"), "{garbage}");

    let allocates = run(&["child-that", "allocates"], &limits).await;
    assert!(
        allocates.contains("was stopped") && allocates.contains("memory allocation"),
        "{allocates}"
    );
    let computes = run(&["child-that", "computes"], &limits).await;
    assert!(computes.contains("was stopped"), "{computes}");
    let writes = run(&["child-that", "writes"], &limits).await;
    assert!(writes.contains("was stopped"), "{writes}");
    let panics = run(&["child-that", "panics"], &limits).await;
    assert!(panics.contains("index 7 is out of bounds"), "{panics}");

    let impatient = Config {
        cpu_s: 60,
        wall_ms: 300,
        ..limits.clone()
    };
    let late = attempt(&["child-that", "computes"], &impatient).await;
    assert!(matches!(late, Err(Error::TookTooLong { wall_ms: 300 })), "{late:?}");
}
