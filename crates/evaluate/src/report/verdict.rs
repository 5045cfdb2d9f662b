//! Does a network earn its place? Said in a sentence, whoever wins, and where nobody does.
//!
//! The best network and the best baseline by area under the curve are held against each other run by run. A difference is
//! clear where its interval leaves out 0; a network earns its place where it clearly parts better and no baseline
//! clearly alarms less for what it sees. The burden of proof is the network's: the simple methods stand beside it anyway.

mod difference;

use std::collections::BTreeMap;

use self::difference::{Difference, Side};
use super::{Figures, Row, Run};

pub(super) use self::difference::Over;

/// Detectors that take no network.
const BASELINES: [&str; 6] = [
    "isolation_forest",
    "mahalanobis",
    "overall_level",
    "pca",
    "residual_mahalanobis",
    "residual_pca",
];

const NONE_EARNS: &str = "No network earns its place";

/// The best network against the baselines, by area under the curve and by false alarms at the nominal 99.5 % line.
/// `detectors` are the means of `runs`.
pub(super) fn of(detectors: &BTreeMap<String, Row>, runs: &[Run], over: Over) -> String {
    if detectors.values().all(|row| row.auroc.is_none()) {
        return "nothing can be said of how failing readings are parted from healthy ones: readings of both are needed to test on"
            .to_owned();
    }
    let known = detectors.iter().filter(|(name, _)| is_clean(name));
    let mut known: Vec<Candidate<'_>> = known.filter_map(|(name, row)| Candidate::of(name, row)).collect();
    known.sort_by(|a, b| b.auroc.total_cmp(&a.auroc));
    let (baselines, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|known| BASELINES.contains(&known.name));
    let network = others.into_iter().find(|known| known.name != "ensemble");
    let contest = network.map(|network| Contest {
        network,
        baselines,
        runs,
        over,
    });
    let told = contest.and_then(|contest| contest.told());
    told.unwrap_or_else(|| "a network and a baseline are needed to compare".to_owned())
}

/// Whether a detector learned as usual, neither from planted faults nor trimmed; the names of the others end in `+faults` and the like.
pub(super) fn is_clean(name: &str) -> bool {
    !name.contains('+')
}

/// The best network and all baselines, the best first.
struct Contest<'a> {
    network: Candidate<'a>,
    baselines: Vec<Candidate<'a>>,
    runs: &'a [Run],
    over: Over,
}

impl Contest<'_> {
    /// Who wins; nothing without a baseline.
    fn told(&self) -> Option<String> {
        let (network, best) = (&self.network, self.baselines.first()?);
        let area = self.difference(best, |f| f.auroc)?;
        let line = self.at_line(best);
        Some(match area.side() {
            Side::TooFew => format!(
                "Whether a network earns its place can't be told from {}: the best, {network}, and the best baseline, {best}, \
                 differ by {:+.3} in how they part failing from healthy readings; {line}",
                area.runs(),
                area.mean,
            ),
            Side::Baseline => format!(
                "{NONE_EARNS}: {best} parts failing from healthy readings clearly better than the best of them, {network}: by \
                 {}; {line}{}",
                area.reversed(),
                promotion(best),
            ),
            Side::Neither => format!(
                "{NONE_EARNS}: the best of them, {network}, does not clearly part failing from healthy readings better than \
                 {best}: by {area}; {line}{}",
                self.quieter(best)
                    .map_or(String::new(), |less| format!(": clearly less, by {less}")),
            ),
            Side::Network => self.parts_better(best, &area),
        })
    }

    /// Where the network's area is clearly greater than that of the best baseline, false alarms decide.
    fn parts_better(&self, best: &Candidate<'_>, area: &Difference) -> String {
        let network = &self.network;
        let quiet = self
            .baselines
            .iter()
            .find_map(|known| Some((known, self.quieter(known)?)));
        match quiet {
            Some((quiet, less)) => format!(
                "{NONE_EARNS}: the best of them, {network}, parts failing from healthy readings better than the best baseline, \
                 {best}, by {area}, but {}: clearly less, by {less}, for what each sees{}",
                self.at_line(quiet),
                promotion(quiet),
            ),
            None => format!(
                "{network} earns its place: it parts failing from healthy readings clearly better than the best baseline, \
                 {best}: by {area}; {}",
                self.at_line(best),
            ),
        }
    }

    /// By how much a baseline alarms falsely less at the nominal 99.5 % line, if clearly so, and if the network does not
    /// make up for it by what it sees: its recall less its false-positive rate (Youden's index) is not clearly greater.
    fn quieter(&self, baseline: &Candidate<'_>) -> Option<Difference> {
        let alarms = self.difference(baseline, |f| f.fpr_995)?;
        let seen = self.difference(baseline, |f| Some(f.recall_995? - f.fpr_995?))?;
        (alarms.side() == Side::Network && seen.side() != Side::Network).then_some(alarms)
    }

    fn difference(&self, baseline: &Candidate<'_>, figure: fn(&Figures) -> Option<f64>) -> Option<Difference> {
        Difference::between(self.runs, self.over, (self.network.name, baseline.name), figure)
    }

    /// False-positive rates of the network and a baseline, and what each sees at them.
    fn at_line(&self, baseline: &Candidate<'_>) -> String {
        let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        let rates =
            |Row {
                 fpr_995, recall_995, ..
             }: &Row| { format!("{} at a recall of {}", percent(*fpr_995), percent(*recall_995)) };
        format!(
            "at the nominal 99.5 % line {} alarms falsely in {}, {} in {}",
            self.network.name,
            rates(self.network.row),
            baseline.name,
            rates(baseline.row)
        )
    }
}

/// That a baseline may judge in the network's place, where it can.
fn promotion(baseline: &Candidate<'_>) -> String {
    let variant = match baseline.name {
        "pca" | "residual_pca" => "pca",
        "mahalanobis" | "residual_mahalanobis" => "mahalanobis",
        _ => return String::new(),
    };
    format!("; it may be promoted as the residual detector (tocsin train --variant {variant})")
}

/// A detector whose area under the curve is known.
struct Candidate<'a> {
    name: &'a str,
    auroc: f64,
    row: &'a Row,
}

impl<'a> Candidate<'a> {
    fn of(name: &'a str, row: &'a Row) -> Option<Self> {
        let auroc = row.auroc?;
        Some(Self { name, auroc, row })
    }
}

impl std::fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:.3})", self.name, self.auroc)
    }
}

#[cfg(test)]
mod tests;
