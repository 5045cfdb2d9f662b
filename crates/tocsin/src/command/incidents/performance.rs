//! `tocsin incidents performance`: how the alarms and pages of a period treat people.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::review::v1::{
    DestinationPages, EventRate, FalsePages, GetAlarmPerformanceRequest, GetAlarmPerformanceResponse, MachineAlarms,
    OperatorPosition, PerformanceMark,
};
use tocsin_contracts::time;
use tocsin_domain::{Clock, Timestamp};

use super::super::{Ask, when};
use crate::client::explain;
use crate::output::Section;

/// The period reported on when none is given.
const DEFAULT_PERIOD: Duration = Duration::from_hours(30 * 24);

#[derive(Debug, Args)]
pub(super) struct Performance {
    /// Only this site
    #[arg(long, default_value = "", hide_default_value = true)]
    site: String,
    /// Since this time (RFC 3339); 30 days before the end when not given
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time; now when not given
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Performance {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let parse = |name, text: Option<String>| text.map(|text| Timestamp::parse(name, &text)).transpose();
        let to = parse("--to", self.to)?.unwrap_or_else(|| Clock::system().now());
        let from = parse("--from", self.from)?.unwrap_or(to - DEFAULT_PERIOD);
        let request = GetAlarmPerformanceRequest {
            site: self.site,
            from: Some(time::to_wire(from)),
            to: Some(time::to_wire(to)),
        };
        let mut client = ReviewServiceClient::new(ask.target.channel()?).max_decoding_message_size(64 << 20);
        let answer = client.get_alarm_performance(request).await;
        let answer = answer
            .map_err(|status| explain("reporting on alarms and pages", &status))?
            .into_inner();
        print(ask, answer)
    }
}

fn print(ask: &Ask, answer: GetAlarmPerformanceResponse) -> Result<()> {
    let lists = [
        section(
            "figures",
            answer.marks.iter().map(mark),
            &["figure", "value", "target", "standing", "source"],
        ),
        section(
            "operator positions",
            answer.positions.iter().map(position),
            &[
                "site",
                "alarms",
                "average_per_10_min",
                "peak_per_10_min",
                "intervals_above_10",
                "intervals_in_flood",
                "floods",
            ],
        ),
        section(
            "destinations",
            answer.destinations.iter().map(destination),
            &[
                "destination",
                "pages",
                "per_week",
                "per_week_upper",
                "most_in_a_week",
                "nights",
                "nights_over",
                "most_in_a_night",
                "within_budget",
            ],
        ),
        section(
            "machines with most alarms",
            answer.most_frequent.iter().map(machine),
            MACHINE,
        ),
        section("chattering machines", answer.chattering.iter().map(machine), MACHINE),
    ];
    let head = head(&answer)?;
    let whole = whole(&answer, &head)?;
    ask.output.report("performance", &whole, &head, &lists)
}

const MACHINE: &[&str] = &["site", "machine", "alarms"];

fn section<'a>(title: &str, items: impl Iterator<Item = Value>, columns: &'a [&'a str]) -> Section<'a> {
    Section {
        title: title.to_owned(),
        items: items.collect(),
        columns,
    }
}

/// What has no target of its own.
fn head(answer: &GetAlarmPerformanceResponse) -> Result<Value> {
    let (told, unlabelled) = (answer.false_pages.as_ref(), answer.false_or_unlabelled.as_ref());
    Ok(json!({
        "from": when(answer.from)?,
        "to": when(answer.to)?,
        "alarms": answer.alarms,
        "stale_alarms": answer.stale_alarms,
        "longest_stale_hours": tidy(answer.longest_stale_s / 3_600.0),
        "acknowledged": answer.acknowledged,
        "machine_hours": tidy(answer.machine_hours),
        "pages_told": answer.pages_told,
        "pages_suppressed": answer.pages_suppressed,
        "pages_released": answer.pages_released,
        "pages_untold": answer.pages_untold,
        "paged_incidents_true": answer.incidents_true,
        "paged_incidents_false": answer.incidents_false,
        "paged_incidents_other": answer.incidents_other,
        "paged_incidents_unlabelled": answer.incidents_unlabelled,
        "false_per_machine_year": told.and_then(|told| told.per_machine_year.as_ref()).map(words),
        "false_per_person_week": told.and_then(|told| told.per_person_week.as_ref()).map(words),
        "false_or_unlabelled_per_person_week":
            unlabelled.and_then(|told| told.per_person_week.as_ref()).map(words),
    }))
}

/// The same for scripts, with rates as numbers and every list.
fn whole(answer: &GetAlarmPerformanceResponse, head: &Value) -> Result<Value> {
    let mut whole = head.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.retain(|name, _| !name.contains("_per_"));
    }
    let days = answer.days.iter().map(|day| -> Result<Value> {
        Ok(json!({ "from": when(day.from)?, "alerts": day.alerts, "pages": day.pages }))
    });
    let marks = answer.marks.iter().map(|mark| {
        json!({
            "figure": mark.name,
            "value": mark.value,
            "unit": mark.unit,
            "target": mark.target,
            "standing": mark.standing,
            "source": mark.source,
        })
    });
    whole["longest_stale_s"] = answer.longest_stale_s.into();
    whole["machine_hours"] = answer.machine_hours.into();
    whole["figures"] = marks.collect();
    whole["days"] = days.collect::<Result<_>>()?;
    whole["positions"] = answer.positions.iter().map(position).collect();
    whole["destinations"] = answer.destinations.iter().map(destination).collect();
    whole["most_frequent"] = answer.most_frequent.iter().map(machine).collect();
    whole["chattering"] = answer.chattering.iter().map(machine).collect();
    whole["budget"] = json!({ "per_week": answer.budget_per_week, "per_night": answer.budget_per_night });
    whole["false_pages"] = answer.false_pages.as_ref().map(false_pages).into();
    whole["false_or_unlabelled"] = answer.false_or_unlabelled.as_ref().map(false_pages).into();
    Ok(whole)
}

/// A number for a column: three digits that count.
fn tidy(value: f64) -> Value {
    let digits = (2 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 6);
    let scale = 10_f64.powi(digits);
    let rounded = (value * scale).round() / scale;
    if rounded.fract() == 0.0 {
        json!(rounded as i64)
    } else {
        json!(rounded)
    }
}

fn mark(mark: &PerformanceMark) -> Value {
    let value = mark.value.map(|value| match mark.unit.as_str() {
        "share" => format!("{} %", tidy(value * 100.0)),
        "s" => format!("{} min", tidy(value / 60.0)),
        _ => tidy(value).to_string(),
    });
    json!({
        "figure": mark.name.replace('_', " "),
        "value": value,
        "target": mark.target,
        "standing": if mark.target.is_empty() { "" } else { mark.standing.as_str() },
        "source": mark.source,
    })
}

fn position(one: &OperatorPosition) -> Value {
    json!({
        "site": one.site,
        "alarms": one.alarms,
        "average_per_10_min": tidy(one.average_per_10_min),
        "peak_per_10_min": one.peak_per_10_min,
        "intervals": one.intervals,
        "intervals_above_10": one.intervals_above_10,
        "intervals_in_flood": one.intervals_in_flood,
        "floods": one.floods,
    })
}

fn destination(one: &DestinationPages) -> Value {
    let rate = one.per_week.as_ref();
    json!({
        "destination": one.destination,
        "pages": one.pages,
        "per_week": rate.map(|rate| tidy(rate.rate)),
        "per_week_lower": rate.map(|rate| tidy(rate.lower)),
        "per_week_upper": rate.map(|rate| tidy(rate.upper)),
        "most_in_a_week": one.most_in_a_week,
        "nights": one.nights,
        "nights_over": one.nights_over,
        "most_in_a_night": one.most_in_a_night,
        "within_budget": one.within_budget,
    })
}

fn machine(one: &MachineAlarms) -> Value {
    json!({ "site": one.site, "machine": one.machine, "alarms": one.alarms })
}

fn words(rate: &EventRate) -> String {
    format!(
        "{} (95 % bounds {} to {})",
        tidy(rate.rate),
        tidy(rate.lower),
        tidy(rate.upper)
    )
}

fn false_pages(pages: &FalsePages) -> Value {
    let rate = |rate: &EventRate| json!({ "rate": rate.rate, "lower": rate.lower, "upper": rate.upper });
    json!({
        "incidents": pages.incidents,
        "told": pages.told,
        "per_machine_year": pages.per_machine_year.as_ref().map(rate),
        "per_person_week": pages.per_person_week.as_ref().map(rate),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_printed_in_the_unit_people_read() {
        let shown = |unit: &str, value: Option<f64>| {
            mark(&PerformanceMark {
                name: "time_in_flood".into(),
                value,
                unit: unit.into(),
                target: "below 1 %".into(),
                standing: "within".into(),
                ..PerformanceMark::default()
            })
        };
        assert_eq!(shown("share", Some(0.001_234_5))["value"], "0.123 %");
        assert_eq!(shown("s", Some(754.0))["value"], "12.6 min");
        assert_eq!(shown("1", Some(3.0))["value"], "3");
        assert_eq!(shown("1", None)["value"], Value::Null);
        assert_eq!(shown("1", None)["figure"], "time in flood");
    }
}
