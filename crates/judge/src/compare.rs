//! Two sets of limits over the same readings of a machine: which incidents would be gained, lost, or come at another time.
//!
//! Incidents are paired when they were open at the same time, each with at most one. When an incident opens and closes
//! under one set while two do under the other, the second of the two is gained.
//!
//! Of a window that people labelled, one incident of each side is compared, whether they overlap or not ([`within`]).

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

use crate::replay::ReplayedIncident;

/// How an incident would differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// There would be one where there is none.
    Gained,
    /// There would be none where there is one.
    Lost,
    /// The alert would be a page.
    Raised,
    /// The page would be an alert.
    Lowered,
    /// It would page (an alert: open) earlier.
    Earlier,
    /// It would page (an alert: open) later.
    Later,
}

impl Change {
    /// The name on screen and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Raised => "raised",
            Self::Lowered => "lowered",
            Self::Earlier => "earlier",
            Self::Later => "later",
        }
    }
}

/// An incident that would not be as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IncidentChange {
    /// How it would differ.
    pub change: Change,
    /// How much later it would page, or open where either is an alert, in seconds; below zero when earlier.
    pub shift_s: f64,
    /// As it is.
    pub before: Option<ReplayedIncident>,
    /// As it would be.
    pub after: Option<ReplayedIncident>,
}

/// All differences of a machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Incidents that would page or open at the same time, whenever they clear.
    pub unchanged: u64,
    /// The others, in order of time.
    pub changes: Vec<IncidentChange>,
}

/// Compares one machine's incidents, each list in order of opening.
pub fn compare(before: &[ReplayedIncident], after: &[ReplayedIncident]) -> Comparison {
    let mut comparison = Comparison::default();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if overlap(a, b) => {
                comparison.pair(a, b);
                old.next();
                new.next();
            }
            (Some(a), b) if b.is_none_or(|b| a.opened_at < b.opened_at) => {
                comparison.changes.push(alone(Change::Lost, Some(a), None));
                old.next();
            }
            (_, Some(b)) => {
                comparison.changes.push(alone(Change::Gained, None, Some(b)));
                new.next();
            }
            (_, None) => return comparison,
        }
    }
}

/// What becomes of pages. An incident that is gained or raised adds one, one that is lost or lowered removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageChanges {
    /// Pages where there are none.
    pub added: u64,
    /// Pages that would not come.
    pub removed: u64,
    /// Pages that would come earlier.
    pub earlier: u64,
    /// Pages that would come later.
    pub later: u64,
}

impl PageChanges {
    /// Counts what a change makes of a page; one of alerts counts nothing.
    pub fn take(&mut self, change: &IncidentChange) {
        let pages = |incident: Option<ReplayedIncident>| incident.is_some_and(|one| one.paged_at.is_some());
        match (pages(change.before), pages(change.after), change.change) {
            (false, true, _) => self.added += 1,
            (true, false, _) => self.removed += 1,
            (true, true, Change::Earlier) => self.earlier += 1,
            (true, true, Change::Later) => self.later += 1,
            _ => {}
        }
    }
}

/// The incident that a window of a machine's life shows: of those open in it the first that paged, or else the first. A
/// window without an end is still open.
pub fn within(incidents: &[ReplayedIncident], (from, to): (Timestamp, Option<Timestamp>)) -> Option<ReplayedIncident> {
    let is_open = |incident: &&ReplayedIncident| {
        incident.opened_at < to.unwrap_or(Timestamp::MAX) && incident.closed_at.is_none_or(|closed| closed > from)
    };
    let open = || incidents.iter().filter(is_open);
    open()
        .find(|incident| incident.paged_at.is_some())
        .or(open().next())
        .copied()
}

/// How one incident differs from another, either of which there may not be; nothing where it doesn't.
pub fn difference(before: Option<&ReplayedIncident>, after: Option<&ReplayedIncident>) -> Option<IncidentChange> {
    let mut comparison = Comparison::default();
    match (before, after) {
        (Some(before), Some(after)) => comparison.pair(before, after),
        (Some(before), None) => return Some(alone(Change::Lost, Some(before), None)),
        (None, Some(after)) => return Some(alone(Change::Gained, None, Some(after))),
        (None, None) => {}
    }
    comparison.changes.pop()
}

impl Comparison {
    fn pair(&mut self, before: &ReplayedIncident, after: &ReplayedIncident) {
        let opened = seconds(before.opened_at, after.opened_at);
        let (change, shift_s) = match (before.paged_at, after.paged_at) {
            (None, Some(_)) => (Some(Change::Raised), opened),
            (Some(_), None) => (Some(Change::Lowered), opened),
            (Some(a), Some(b)) => later_or_earlier(seconds(a, b)),
            (None, None) => later_or_earlier(opened),
        };
        match change {
            None => self.unchanged += 1,
            Some(change) => self.changes.push(IncidentChange {
                change,
                shift_s,
                before: Some(*before),
                after: Some(*after),
            }),
        }
    }
}

fn later_or_earlier(shift_s: f64) -> (Option<Change>, f64) {
    let change = if shift_s > 0.0 {
        Some(Change::Later)
    } else {
        (shift_s < 0.0).then_some(Change::Earlier)
    };
    (change, shift_s)
}

fn alone(change: Change, before: Option<&ReplayedIncident>, after: Option<&ReplayedIncident>) -> IncidentChange {
    IncidentChange {
        change,
        shift_s: 0.0,
        before: before.copied(),
        after: after.copied(),
    }
}

fn overlap(a: &ReplayedIncident, b: &ReplayedIncident) -> bool {
    let end = |incident: &ReplayedIncident| incident.closed_at.unwrap_or(Timestamp::MAX);
    a.opened_at < end(b) && b.opened_at < end(a)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_micros() - from.as_micros()) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tocsin_domain::{Detector, MachineId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn incident(opened: i64, paged: Option<i64>, closed: Option<i64>) -> ReplayedIncident {
        ReplayedIncident {
            machine: MachineId(1),
            opened_at: at(opened),
            paged_at: paged.map(at),
            closed_at: closed.map(at),
            detector: Detector::Growth,
        }
    }

    fn changes(before: &[ReplayedIncident], after: &[ReplayedIncident]) -> Vec<(Change, f64)> {
        let compared = compare(before, after);
        compared.changes.iter().map(|c| (c.change, c.shift_s)).collect()
    }

    #[test]
    fn incidents_are_gained_lost_raised_lowered_and_moved() {
        let page = incident(100, Some(100), Some(500));
        let later = incident(120, Some(130), Some(400));
        let alert = incident(90, None, Some(500));
        assert_eq!(changes(&[page], &[]), [(Change::Lost, 0.0)]);
        assert_eq!(changes(&[], &[page]), [(Change::Gained, 0.0)]);
        assert_eq!(changes(&[page], &[later]), [(Change::Later, 30.0)]);
        assert_eq!(changes(&[later], &[page]), [(Change::Earlier, -30.0)]);
        assert_eq!(changes(&[alert], &[page]), [(Change::Raised, 10.0)]);
        assert_eq!(changes(&[page], &[alert]), [(Change::Lowered, -10.0)]);
        let open = incident(100, Some(100), None);
        assert_eq!(compare(&[page], &[open]).unchanged, 1, "it pages at the same time");
    }

    #[test]
    fn of_two_that_were_one_the_second_is_gained() {
        let long = incident(100, Some(100), None);
        let (first, second) = (incident(100, Some(100), Some(300)), incident(900, Some(900), None));
        let compared = compare(&[long], &[first, second]);
        assert_eq!((compared.unchanged, compared.changes.len()), (1, 1));
        assert_eq!(
            (compared.changes[0].change, compared.changes[0].after),
            (Change::Gained, Some(second))
        );
    }

    #[test]
    fn pages_are_added_removed_and_moved_and_alerts_are_none() {
        let (page, later) = (incident(100, Some(100), Some(500)), incident(120, Some(130), Some(400)));
        let alert = incident(90, None, Some(500));
        let count = |before: &[ReplayedIncident], after: &[ReplayedIncident]| {
            let mut pages = PageChanges::default();
            compare(before, after)
                .changes
                .iter()
                .for_each(|change| pages.take(change));
            [pages.added, pages.removed, pages.earlier, pages.later]
        };
        assert_eq!(count(&[], &[page]), [1, 0, 0, 0]);
        assert_eq!(count(&[alert], &[page]), [1, 0, 0, 0], "raised");
        assert_eq!(count(&[page], &[]), [0, 1, 0, 0]);
        assert_eq!(count(&[page], &[alert]), [0, 1, 0, 0], "lowered");
        assert_eq!(count(&[later], &[page]), [0, 0, 1, 0]);
        assert_eq!(count(&[page], &[later]), [0, 0, 0, 1]);
        assert_eq!(count(&[], &[alert]), [0; 4]);
    }

    #[test]
    fn a_labelled_window_shows_its_first_page_or_else_its_first_alert() {
        let (alert, page) = (incident(100, None, Some(200)), incident(300, Some(310), None));
        let seen = |from, to: Option<i64>| within(&[alert, page], (at(from), to.map(at)));
        assert_eq!(seen(150, Some(400)), Some(page));
        assert_eq!(
            seen(150, Some(300)),
            Some(alert),
            "the page opens when the window has ended"
        );
        assert_eq!(seen(200, Some(300)), None, "the alert closes as it begins");
        assert_eq!(seen(500, None), Some(page), "still open");
    }

    #[test]
    fn two_incidents_differ_by_time_and_by_whether_there_are_any() {
        let (first, second) = (incident(100, Some(100), Some(200)), incident(300, Some(310), Some(400)));
        let change = |before, after| difference(before, after).map(|one| (one.change, one.shift_s));
        assert_eq!(
            change(Some(&first), Some(&second)),
            Some((Change::Later, 210.0)),
            "though they don't overlap"
        );
        assert_eq!(change(Some(&first), None), Some((Change::Lost, 0.0)));
        assert_eq!(change(None, Some(&first)), Some((Change::Gained, 0.0)));
        assert_eq!((change(Some(&first), Some(&first)), change(None, None)), (None, None));
    }

    fn incidents() -> impl Strategy<Value = Vec<ReplayedIncident>> {
        prop::collection::vec((1_i64..200, 1_i64..200, any::<bool>()), 0..12).prop_map(|gaps| {
            let mut second = 0;
            let next = |(before, length, paged): (i64, i64, bool)| {
                let opened = second + before;
                second = opened + length;
                incident(opened, paged.then_some(opened), Some(second))
            };
            gaps.into_iter().map(next).collect()
        })
    }

    proptest! {
        #[test]
        fn every_incident_is_told_of_once(before in incidents(), after in incidents()) {
            let compared = compare(&before, &after);
            let olds = compared.changes.iter().filter(|c| c.before.is_some()).count() as u64;
            let news = compared.changes.iter().filter(|c| c.after.is_some()).count() as u64;
            prop_assert_eq!(olds + compared.unchanged, before.len() as u64);
            prop_assert_eq!(news + compared.unchanged, after.len() as u64);
            prop_assert_eq!(compare(&before, &before).changes, vec![]);
        }
    }
}
