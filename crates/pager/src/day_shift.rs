//! Slow failures that may wait for the day shift, where a site says so.
//!
//! **Invariant:** only a page about an alert that became one, growing slower than a level in 24 hours, waits; and it waits no
//! longer once its machine's level has risen by one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, Slug, Timestamp};
use tocsin_judge::{PagePayload, PageReason};

use crate::destination::Hours;

/// A level that rises faster than this, per 24 hours, waits for nobody.
const SLOW: f32 = 1.0;

/// The day shift of some sites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayShift {
    /// Names of the sites.
    pub sites: Vec<String>,
    /// When people are there.
    pub hours: Hours,
}

impl DayShift {
    /// Checks what it says; the error names the field within it.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.sites.is_empty() {
            return Err(Invalid::new(
                "sites",
                "is empty: name the sites whose slow failures may wait",
            ));
        }
        for site in &self.sites {
            Slug::parse("sites", site)?;
        }
        self.hours.check()
    }
}

/// Until when a page waits for the next shift of its site; none when it does not, or somebody is there.
pub(crate) fn waits_until(shifts: &[DayShift], payload: &PagePayload, now: Timestamp) -> Option<Timestamp> {
    let is_slow = payload.reason == PageReason::Escalated
        && payload.growth_per_day.is_some_and(|growth| growth < SLOW)
        && !payload.replay;
    let of_site = |shift: &&DayShift| shift.sites.iter().any(|site| site == payload.site.as_str());
    let shifts: Vec<&DayShift> = shifts.iter().filter(of_site).filter(|_| is_slow).collect();
    if shifts.iter().any(|shift| shift.hours.hold(now)) {
        return None;
    }
    shifts.iter().filter_map(|shift| shift.hours.next(now)).min()
}

/// How often the beginning of a shift is looked for.
pub(crate) const TICK: Duration = Duration::from_mins(1);

/// How far ahead: a shift of one day in the week is among it.
pub(crate) const AHEAD: Duration = Duration::from_hours(24 * 8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Day;
    use crate::message::tests::page;
    use tocsin_domain::Severity;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("t", text).unwrap()
    }

    fn lisbon() -> DayShift {
        let days = vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];
        DayShift {
            sites: vec!["lisbon".into()],
            hours: Hours {
                days,
                from: "07:00".into(),
                to: "16:00".into(),
                time_zone: "Europe/Lisbon".into(),
            },
        }
    }

    fn escalated(growth_per_day: Option<f32>) -> PagePayload {
        PagePayload {
            growth_per_day,
            ..page(PageReason::Escalated, Severity::Page).payload
        }
    }

    #[test]
    fn a_slow_failure_waits_for_the_next_shift_and_a_quick_one_for_nothing() {
        let shift = [lisbon()];
        // A Friday evening, in summer time: 07:00 on Monday is 06:00 UTC.
        let friday = at("2026-07-03T20:00:00Z");
        let slow = escalated(Some(0.4));
        assert_eq!(waits_until(&shift, &slow, friday), Some(at("2026-07-06T06:00:00Z")));
        assert_eq!(
            waits_until(&shift, &slow, at("2026-07-06T09:30:00Z")),
            None,
            "they are there"
        );
        for quick in [
            escalated(Some(1.0)),
            escalated(None),
            page(PageReason::Opened, Severity::Page).payload,
        ] {
            assert_eq!(waits_until(&shift, &quick, friday), None);
        }
        let late = DayShift {
            hours: Hours {
                from: "14:00".into(),
                to: "22:00".into(),
                ..lisbon().hours
            },
            ..lisbon()
        };
        let both = [lisbon(), late];
        assert_eq!(waits_until(&both, &slow, friday), None, "the late shift is there");
        assert_eq!(
            waits_until(&both, &slow, at("2026-07-03T22:00:00Z")),
            Some(at("2026-07-06T06:00:00Z"))
        );
        let elsewhere = DayShift {
            sites: vec!["porto".into()],
            ..lisbon()
        };
        assert_eq!(waits_until(&[elsewhere], &slow, friday), None);
    }

    #[test]
    fn a_shift_without_sites_or_with_hours_that_are_none_is_refused() {
        let nobody = DayShift {
            sites: vec![],
            ..lisbon()
        };
        assert_eq!(nobody.check().unwrap_err().field, "sites");
        let mut odd = lisbon();
        odd.hours.from = "7 am".into();
        assert_eq!(odd.check().unwrap_err().field, "hours.from");
    }
}
