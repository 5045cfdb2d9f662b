//! How many readings could be scored anew, and what follows where they are few.

use std::collections::BTreeMap;
use std::fmt::Write;

use tocsin_domain::Slug;

/// Coverage below this is thin.
const THIN: f64 = 0.9;
/// Sites that are named as thin.
const NAMED: usize = 3;

/// Readings, and those of them that could be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Coverage {
    pub(crate) readings: u64,
    pub(crate) scored: u64,
}

impl Coverage {
    /// Counts a reading.
    pub(crate) fn count(&mut self, scored: bool) {
        self.add(Self {
            readings: 1,
            scored: scored.into(),
        });
    }

    /// Adds those of others.
    pub(crate) fn add(&mut self, other: Self) {
        self.readings += other.readings;
        self.scored += other.scored;
    }

    /// Those of all sites.
    pub(crate) fn of_all(sites: &BTreeMap<Slug, Self>) -> Self {
        let mut all = Self::default();
        for site in sites.values() {
            all.add(*site);
        }
        all
    }

    fn share(self) -> f64 {
        self.scored as f64 / self.readings.max(1) as f64
    }

    fn is_thin(self) -> bool {
        self.readings > 0 && self.share() < THIN
    }
}

/// The coverage of some sites in words, with what is to be thought of it.
pub(crate) fn note(sites: &BTreeMap<Slug, Coverage>) -> String {
    let all = Coverage::of_all(sites);
    if all.scored == all.readings {
        return format!("all {} readings could be scored as asked", all.readings);
    }
    let (scored, readings, percent) = (all.scored, all.readings, percent(all));
    let mut note = format!(
        "{scored} of {readings} readings ({percent}) could be scored as asked; of the others no spectrum is kept, and they are \
         left out of both sides"
    );
    let thin: Vec<String> = sites
        .iter()
        .filter(|(_, coverage)| coverage.is_thin())
        .map(|(site, coverage)| format!("{site} {}", self::percent(*coverage)))
        .collect();
    if !thin.is_empty() {
        let named = thin[..thin.len().min(NAMED)].join(", ");
        let _ = write!(note, "; thin at {named}");
        if thin.len() > NAMED {
            let _ = write!(note, " and {} more sites", thin.len() - NAMED);
        }
        note.push_str(
            ": spectra of flagged readings are kept more often than of calm ones, so pages that would be added may be \
             missing, and rates stand too high",
        );
    }
    note
}

/// Rounded down, so that only all are 100 %.
fn percent(coverage: Coverage) -> String {
    format!("{:.1} %", (coverage.share() * 1_000.0).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sites: &[(&str, u64, u64)]) -> String {
        let sites = sites.iter().map(|(site, scored, readings)| {
            let coverage = Coverage {
                readings: *readings,
                scored: *scored,
            };
            (Slug::parse("site", site).unwrap(), coverage)
        });
        note(&sites.collect())
    }

    #[test]
    fn whole_coverage_is_said_shortly_and_thin_coverage_with_what_it_means() {
        assert_eq!(of(&[("north", 20, 20)]), "all 20 readings could be scored as asked");
        let most = of(&[("north", 1_999, 2_000)]);
        assert!(most.starts_with("1999 of 2000 readings (99.9 %)"), "{most}");
        assert!(most.ends_with("left out of both sides"), "{most}");
        let thin = of(&[("east", 0, 0), ("north", 20, 20), ("south", 1, 80)]);
        assert!(thin.starts_with("21 of 100 readings (21.0 %)"), "{thin}");
        assert!(
            thin.contains("; thin at south 1.2 %: ") && thin.contains("may be missing"),
            "{thin}"
        );
        let many = of(&[("a", 0, 9), ("b", 0, 9), ("c", 0, 9), ("d", 0, 9)]);
        assert!(many.contains("c 0.0 % and 1 more sites: "), "{many}");
    }
}
