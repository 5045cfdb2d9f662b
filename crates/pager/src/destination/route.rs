//! Which pages a destination takes: by site, class, severity, and the time of day at which a page was decided.
//!
//! **Invariant:** a route is a pure function of the page: whoever fans out, and however late, decides the same.

use chrono::{DateTime, Datelike, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, Severity, Slug, Timestamp};

use crate::day_shift::{AHEAD, TICK};
use crate::message::Page;

/// A route: a page must be all that is said; what is left empty says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Names of sites.
    pub sites: Vec<String>,
    /// Names of machines' classes.
    pub classes: Vec<String>,
    /// `page`, `alert`.
    pub severities: Vec<Severity>,
    /// The hours in which pages are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

/// Hours of a week, by the clock on a wall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The days on which they begin, such as `mon`; with none, every day.
    #[serde(default)]
    pub days: Vec<Day>,
    /// From this time of day, `HH:MM`.
    pub from: String,
    /// Up to but without this time of day, `HH:MM`. When it is not after `from`, it is that of the next day.
    pub to: String,
    /// The wall's IANA time zone, such as `Europe/Lisbon`.
    pub time_zone: String,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they say all there is")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Mon => Self::Mon,
            Weekday::Tue => Self::Tue,
            Weekday::Wed => Self::Wed,
            Weekday::Thu => Self::Thu,
            Weekday::Fri => Self::Fri,
            Weekday::Sat => Self::Sat,
            Weekday::Sun => Self::Sun,
        }
    }
}

impl Route {
    /// Checks what it says; the error names the field within the route.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        for site in &self.sites {
            Slug::parse("sites", site)?;
        }
        if self.severities.contains(&Severity::Alert) {
            let reason = "alert: only incidents at page level are paged, nothing would ever come";
            return Err(Invalid::new("severities", reason));
        }
        for class in &self.classes {
            Slug::parse("classes", class)?;
        }
        self.hours.as_ref().map_or(Ok(()), Hours::check)
    }

    /// Whether it takes a page.
    pub(crate) fn takes(&self, page: &Page) -> bool {
        let payload = &page.payload;
        let among = |names: &[String], name: &Slug| names.is_empty() || names.iter().any(|n| n == name.as_str());
        among(&self.sites, &payload.site)
            && among(&self.classes, &payload.class)
            && (self.severities.is_empty() || self.severities.contains(&payload.severity))
            && self.hours.as_ref().is_none_or(|hours| hours.hold(page.created_at))
    }
}

/// Hours that were read.
struct Parsed {
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
}

impl Hours {
    /// Checks what they say; the error names the field, from `hours` on.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let parsed = self.parse().map(drop);
        parsed.map_err(|invalid| Invalid::new(format!("hours.{}", invalid.field), invalid.reason))
    }

    /// When they begin next, to the minute; none while they last, or when they don't begin in the next days.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        if self.hold(now) {
            return None;
        }
        let first = now.floor_to(TICK) + TICK;
        let ticks = (AHEAD.as_secs() / TICK.as_secs()) as u32;
        (0..ticks).map(|tick| first + TICK * tick).find(|at| self.hold(*at))
    }

    fn parse(&self) -> Result<Parsed, Invalid> {
        let time = |field: &str, text: &str| {
            NaiveTime::parse_from_str(text, "%H:%M")
                .map_err(|_| Invalid::new(field, format!("{text:?} is not a time of day such as 08:00")))
        };
        let zone = self.time_zone.parse().map_err(|_| {
            let reason = format!("{:?} is not an IANA time zone such as Europe/Lisbon", self.time_zone);
            Invalid::new("time_zone", reason)
        })?;
        Ok(Parsed {
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            zone,
        })
    }

    /// Whether a time lies in these hours. Hours that can't be read were refused at the start.
    pub(crate) fn hold(&self, at: Timestamp) -> bool {
        let Ok(Parsed { from, to, zone }) = self.parse() else {
            return true;
        };
        let local = DateTime::<Utc>::from(at).with_timezone(&zone);
        let time = local.time().with_nanosecond(0).unwrap_or(local.time());
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&day.into());
        let today = local.weekday();
        if from < to {
            return on(today) && from <= time && time < to;
        }
        // Over midnight: the evening of a day that is named, or the morning after it.
        (on(today) && from <= time) || (on(today.pred()) && time < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::page;
    use tocsin_judge::PageReason;

    fn hours(days: &[Day], from: &str, to: &str) -> Hours {
        Hours {
            days: days.to_vec(),
            from: from.to_owned(),
            to: to.to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("t", text).unwrap()
    }

    #[test]
    fn a_route_takes_what_it_names_and_an_empty_one_everything() {
        let alert = page(PageReason::Opened, Severity::Alert);
        assert!(Route::default().takes(&alert));
        let of = |json: &str| serde_json::from_str::<Route>(json).unwrap().takes(&alert);
        assert!(of(
            r#"{"sites": ["porto", "lisbon"], "classes": ["cnc"], "severities": ["alert"]}"#
        ));
        assert!(!of(r#"{"sites": ["porto"]}"#));
        assert!(!of(r#"{"classes": ["pump"]}"#));
        assert!(!of(r#"{"severities": ["page"]}"#));
    }

    #[test]
    fn hours_are_those_on_the_wall_in_summer_and_in_winter() {
        let office = hours(&[Day::Mon, Day::Tue], "08:00", "17:00");
        // 2026-01-05 and 2026-07-06 are Mondays: UTC+1 and UTC+2.
        assert!(office.hold(at("2026-01-05T07:00:00Z")) && !office.hold(at("2026-01-05T06:59:59.9Z")));
        assert!(office.hold(at("2026-07-06T06:00:00Z")) && !office.hold(at("2026-07-06T15:00:00Z")));
        assert!(!office.hold(at("2026-01-07T10:00:00Z")), "a Wednesday");
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin_on() {
        let night = hours(&[Day::Fri], "22:00", "06:00");
        assert!(night.hold(at("2026-01-09T21:00:00Z")), "Friday, 22:00");
        assert!(night.hold(at("2026-01-10T04:59:00Z")), "Saturday, 05:59");
        assert!(!night.hold(at("2026-01-10T21:30:00Z")), "Saturday, 22:30");
        assert!(!night.hold(at("2026-01-09T04:00:00Z")), "Friday, 05:00");
        let all_day = hours(&[Day::Fri], "00:00", "00:00");
        assert!(all_day.hold(at("2026-01-09T12:00:00Z")) && !all_day.hold(at("2026-01-10T12:00:00Z")));
    }

    #[test]
    fn what_can_t_be_read_names_its_field() {
        let field = |hours: Hours| {
            let route = Route {
                hours: Some(hours),
                ..Route::default()
            };
            route.check().unwrap_err().field
        };
        assert_eq!(field(hours(&[], "8", "17:00")), "hours.from");
        assert_eq!(field(hours(&[], "08:00", "25:00")), "hours.to");
        let nowhere = Hours {
            time_zone: "Mars/Olympus".to_owned(),
            ..hours(&[], "08:00", "17:00")
        };
        assert_eq!(field(nowhere), "hours.time_zone");
        let alerts = Route {
            severities: vec![Severity::Alert],
            ..Route::default()
        };
        assert_eq!(
            alerts.check().unwrap_err().field,
            "severities",
            "nothing of the kind is ever paged"
        );
        assert!(serde_json::from_str::<Route>(r#"{"severities": ["loud"]}"#).is_err());
    }
}
