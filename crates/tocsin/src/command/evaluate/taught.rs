//! Whether rows that taught a bundle would test it: what its lineage says against what is chosen here.
//!
//! Which row a bundle learned from is not kept, but which corpora it read, how their rows were chosen and of which sensors
//! they were. The same corpora parted in the same way are parted alike; anything else may move a row from one part into
//! another.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use tocsin_corpus::{By, Row, SensorName};
use tocsin_domain::Slug;
use tocsin_evaluate::Parts;
use tocsin_models::{CorpusFile, Lineage, Selection};

/// What a bundle is to be tested on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tested<'a> {
    pub(super) corpora: &'a [CorpusFile],
    pub(super) selection: &'a Selection,
    /// The rows that remain, each in its split.
    pub(super) rows: &'a [Row],
}

impl Tested<'_> {
    /// Refuses to test a bundle by what may have taught it; the error names the flags.
    pub(super) fn check(&self, lineage: &Lineage) -> Result<()> {
        let ours: BTreeSet<&str> = self.corpora.iter().map(|file| file.sha256.as_str()).collect();
        if let Some(shared) = lineage.corpora.iter().find(|file| ours.contains(file.sha256.as_str())) {
            self.check_choice(&shared.name, &lineage.selection.clone().unwrap_or_default())?;
            self.check_times(lineage, &ours)?;
            self.check_sensors(lineage)?;
        }
        if self.parted_by(By::Machine) {
            self.check_machines(lineage)?;
        }
        Ok(())
    }

    fn parted_by(&self, by: By) -> bool {
        self.selection.split_by.as_deref() == Some(by.as_str())
    }

    /// Refuses rows of a corpus that were chosen otherwise when they taught.
    fn check_choice(&self, corpus: &str, theirs: &Selection) -> Result<()> {
        let flags = flags(theirs).into_iter().zip(flags(self.selection));
        let told: Vec<String> = flags
            .filter(|(theirs, ours)| theirs != ours)
            .map(|((flag, theirs), (_, ours))| format!("{flag} (then {theirs}, now {ours})"))
            .collect();
        if !told.is_empty() {
            bail!(
                "--bundle: it learned from {corpus} with its rows chosen by another {}: what taught it may test it; give the flags it \
                 was trained with, or other corpora",
                told.join(" and another ")
            );
        }
        Ok(())
    }

    /// Refuses other corpora beside those that taught where each machine's time is cut: more or fewer of its moments move
    /// the cuts.
    fn check_times(&self, lineage: &Lineage, ours: &BTreeSet<&str>) -> Result<()> {
        let theirs: BTreeSet<&str> = lineage.corpora.iter().map(|file| file.sha256.as_str()).collect();
        if self.parted_by(By::Time) && theirs != *ours {
            let names: Vec<&str> = lineage.corpora.iter().map(|file| file.name.as_str()).collect();
            bail!(
                "--split-by time: the bundle learned from {} parted by time, and with more or fewer corpora each machine's time is cut \
                 elsewhere: what taught it may test it",
                names.join(", ")
            );
        }
        Ok(())
    }

    /// Refuses other sensors than those that taught where each machine's time is cut, for the same reason.
    fn check_sensors(&self, lineage: &Lineage) -> Result<()> {
        let theirs: BTreeSet<&str> = lineage.sensors.iter().map(String::as_str).collect();
        let teaches = |row: &&Row| row.split.as_deref() == Some("train");
        let ours: BTreeSet<String> = self
            .rows
            .iter()
            .filter(teaches)
            .map(|row| row.sensor.to_string())
            .collect();
        let ours: BTreeSet<&str> = ours.iter().map(String::as_str).collect();
        if self.parted_by(By::Time) && theirs != ours {
            let of_one = theirs.symmetric_difference(&ours).next().copied().unwrap_or_default();
            bail!(
                "--split-by time: the bundle learned from {} sensors, and these would teach it from {}, of which not both have \
                 {of_one}: with more or fewer sensors each machine's time is cut elsewhere, and what taught it may test it; give the \
                 --sensors it was trained with",
                theirs.len(),
                ours.len()
            );
        }
        Ok(())
    }

    /// Refuses machines that taught and set the lines or test here: which part a machine is in depends on the others.
    fn check_machines(&self, lineage: &Lineage) -> Result<()> {
        let names = lineage.sensors.iter().filter_map(|name| SensorName::parse(name).ok());
        let names: Vec<SensorName> = names.collect();
        let taught: BTreeSet<_> = names.iter().map(machine).collect();
        let held_out = |row: &&Row| row.split.as_deref().and_then(Parts::purpose).is_some();
        let tested: BTreeSet<_> = self
            .rows
            .iter()
            .filter(held_out)
            .map(|row| machine(&row.sensor))
            .collect();
        let both: Vec<_> = tested.intersection(&taught).collect();
        if let Some((site, machine)) = both.first() {
            bail!(
                "--split-by machine: {} of the machines that set the lines or test here taught the bundle, such as {site}/{machine}: \
                 which part a machine is in depends on which others there are; give the corpora and --sensors it was trained with",
                both.len()
            );
        }
        Ok(())
    }
}

fn machine(sensor: &SensorName) -> (&Slug, &Slug) {
    (&sensor.site, &sensor.machine)
}

/// The flags that choose rows, and what they say.
fn flags(selection: &Selection) -> [(&'static str, String); 3] {
    let log = selection.maintenance_log.as_ref();
    [
        (
            "--split-by",
            selection.split_by.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        (
            "--maintenance-log",
            log.map_or_else(|| "none".to_owned(), |log| format!("SHA-256 {}", log.sha256)),
        ),
        ("--only-logged-healthy", selection.only_logged_healthy.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tocsin_domain::Timestamp;

    use super::*;

    fn file(name: &str) -> CorpusFile {
        CorpusFile {
            name: format!("{name}.parquet"),
            sha256: name.to_owned(),
            rows: 1,
        }
    }

    fn parted(by: Option<&str>) -> Selection {
        Selection {
            split_by: by.map(str::to_owned),
            ..Selection::default()
        }
    }

    fn lineage(corpora: &[&str], by: Option<&str>) -> Lineage {
        Lineage {
            corpora: corpora.iter().map(|name| file(name)).collect(),
            selection: Some(parted(by)),
            rows_by_split: BTreeMap::new(),
            sensors: vec!["a/m1/x".to_owned()],
            seed: 0,
            trainer: String::new(),
            created_at: Timestamp::from_micros(0),
        }
    }

    /// What is said of a test on these corpora, with two machines of which the second tests.
    fn told(lineage: &Lineage, corpora: &[&str], selection: &Selection, tests: &str) -> Option<String> {
        let corpora: Vec<CorpusFile> = corpora.iter().map(|name| file(name)).collect();
        let rows = [("a/m1/x", "train"), (tests, "test_healthy")].map(|(sensor, split)| Row {
            sensor: SensorName::parse(sensor).unwrap(),
            captured_at: Timestamp::from_micros(0),
            bins: vec![1.0],
            rpm: None,
            load: None,
            label: None,
            split: Some(split.to_owned()),
        });
        let tested = Tested {
            corpora: &corpora,
            selection,
            rows: &rows,
        };
        tested.check(lineage).err().map(|error| error.to_string())
    }

    #[test]
    fn a_corpus_that_taught_tests_only_with_its_rows_chosen_as_then() {
        let by = |theirs, ours| told(&lineage(&["old"], theirs), &["old", "new"], &parted(ours), "a/m2/x");
        assert_eq!(by(None, None), None);
        assert_eq!(by(Some("machine"), Some("machine")), None);
        let refused = by(None, Some("machine")).unwrap();
        assert!(
            refused.starts_with("--bundle: it learned from old.parquet with its rows chosen by another --split-by (then none, now machine)"),
            "{refused}"
        );
        assert!(
            by(Some("time"), None)
                .unwrap()
                .contains("--split-by (then time, now none)")
        );
        let logged = Selection {
            maintenance_log: Some(file("log")),
            only_logged_healthy: true,
            ..parted(None)
        };
        let refused = told(&lineage(&["old"], None), &["old"], &logged, "a/m2/x").unwrap();
        assert!(
            refused.contains("--maintenance-log (then none, now SHA-256 log) and another --only-logged-healthy"),
            "{refused}"
        );
        let other = told(&lineage(&["old"], None), &["new"], &logged, "a/m1/x");
        assert_eq!(other, None, "what did not teach may be chosen in any way");
        let mut platform = lineage(&[], None);
        platform.selection = None;
        assert_eq!(told(&platform, &["new"], &parted(Some("time")), "a/m1/x"), None);
    }

    #[test]
    fn a_machine_that_taught_does_not_test_where_machines_are_parted() {
        for corpora in [["old"], ["new"]] {
            let by_machine = parted(Some("machine"));
            let taught = lineage(&["old"], Some("machine"));
            assert_eq!(told(&taught, &corpora, &by_machine, "a/m2/x"), None);
            let refused = told(&taught, &corpora, &by_machine, "a/m1/y").unwrap();
            assert!(
                refused.starts_with("--split-by machine: 1 of the machines") && refused.contains("such as a/m1:"),
                "{refused}"
            );
        }
    }

    #[test]
    fn where_time_is_parted_the_corpora_are_those_that_taught() {
        let by_time = parted(Some("time"));
        let taught = lineage(&["old", "new"], Some("time"));
        assert_eq!(told(&taught, &["new", "old"], &by_time, "a/m1/x"), None);
        let refused = told(&taught, &["old"], &by_time, "a/m1/x").unwrap();
        assert!(
            refused.starts_with("--split-by time: the bundle learned from old.parquet, new.parquet"),
            "{refused}"
        );
        assert_eq!(told(&taught, &["later"], &by_time, "a/m1/x"), None);
        let of_more = Lineage {
            sensors: vec!["a/m1/x".to_owned(), "a/m1/y".to_owned()],
            ..taught
        };
        let refused = told(&of_more, &["old", "new"], &by_time, "a/m1/x").unwrap();
        assert!(
            refused.starts_with(
                "--split-by time: the bundle learned from 2 sensors, and these would teach it from 1, of which not both have a/m1/y:"
            ),
            "{refused}"
        );
    }
}
