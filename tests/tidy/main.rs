//! The tests that hold the house: arrows between crates, file sizes, module docs, and words that must not be there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The longest a source file may be.
const LONGEST: usize = 400;

/// The longest a file of tests may be: a list of cases is read one by one.
const LONGEST_TESTS: usize = 600;

/// What each crate may depend on among ours (docs/architecture.md).
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("detect", &["domain"]),
    ("judge", &["domain", "detect"]),
    ("simulator", &["domain", "detect"]),
    ("contracts", &["domain"]),
    ("transport", &[]),
    ("corpus", &["domain"]),
    ("store", &["domain"]),
    ("models", &["domain", "detect"]),
    ("archive", &["domain", "store", "models", "corpus"]),
    ("evaluate", &["domain", "detect", "judge", "models", "corpus"]),
    (
        "ingest",
        &["domain", "detect", "judge", "contracts", "transport", "store"],
    ),
    (
        "scorer",
        &["domain", "detect", "judge", "contracts", "transport", "models"],
    ),
    (
        "ensemble",
        &["domain", "detect", "judge", "contracts", "transport", "store", "models"],
    ),
    (
        "recalibrator",
        &[
            "domain",
            "detect",
            "judge",
            "contracts",
            "transport",
            "store",
            "models",
            "archive",
            "evaluate",
        ],
    ),
    (
        "registry",
        &["domain", "detect", "judge", "contracts", "transport", "store", "models"],
    ),
    (
        "pager",
        &["domain", "detect", "judge", "contracts", "transport", "store"],
    ),
    (
        "review",
        &[
            "domain",
            "detect",
            "judge",
            "contracts",
            "transport",
            "store",
            "models",
            "corpus",
            "archive",
            "evaluate",
        ],
    ),
    (
        "trainer",
        &[
            "domain",
            "detect",
            "judge",
            "evaluate",
            "store",
            "models",
            "corpus",
            "contracts",
            "transport",
        ],
    ),
    ("console", &["domain", "contracts", "transport"]),
    // For tests: nobody's arrow leads to it.
    ("scratch", &["domain", "store"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the checkout") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join("crates"), &mut found);
    sources(&root().join("tests"), &mut found);
    found
}

/// Whether a file holds a crate's own tests: `tests.rs`, or anything below a crate's `tests/` or a module's.
fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root().join("crates")).unwrap_or(Path::new(""));
    inside.iter().any(|part| part == "tests" || part == "tests.rs")
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(name, arrows)| (*name, arrows.iter().copied().collect()))
        .collect();
    for entry in std::fs::read_dir(root().join("crates")).expect("crates") {
        let folder = entry.expect("a crate").path();
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        if name == "tocsin" || !folder.join("Cargo.toml").exists() {
            continue;
        }
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("TOML");
        // A crate without a place may depend on none of ours, and none of ours on it.
        let allowed = allowed.get(name.as_str()).cloned().unwrap_or_default();
        let dependencies = manifest
            .get("dependencies")
            .and_then(|table| table.as_table())
            .cloned()
            .unwrap_or_default();
        for dependency in dependencies.keys().filter_map(|key| key.strip_prefix("tocsin-")) {
            assert!(allowed.contains(dependency), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    for path in all_sources() {
        let lines = std::fs::read_to_string(&path).expect("a source file").lines().count();
        let longest = if is_test(&path) { LONGEST_TESTS } else { LONGEST };
        assert!(
            lines <= longest,
            "{} has {lines} lines, at most {longest} are allowed",
            path.display()
        );
        assert!(
            path.file_name().is_some_and(|name| name != "mod.rs"),
            "{}: foo.rs + foo/, never mod.rs",
            path.display()
        );
    }
}

#[test]
fn every_crate_and_module_tells_its_story() {
    // The tests of a module are told by the module.
    for path in all_sources().into_iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let first = text
            .lines()
            .find(|line| !line.starts_with("#![") && !line.is_empty())
            .unwrap_or_default();
        assert!(
            first.starts_with("//!"),
            "{} does not begin with its story",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_open_or_silenced() {
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("#[al", "low("),
        concat!("#[ig", "nore]"),
    ];
    for path in all_sources() {
        let text = std::fs::read_to_string(&path).expect("a source file");
        for word in words {
            assert!(!text.contains(word), "{} holds {word}", path.display());
        }
    }
}
