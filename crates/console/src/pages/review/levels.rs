//! The course of the levels, with all that happened marked by letters.

use maud::{Markup, html};
use tocsin_contracts::incident_review::{Document, Reading, Sensor};
use tocsin_domain::Timestamp;

use super::View;
use super::plot::{Frame, LevelScale, TimeAxis, path, percent, times, unit};
use crate::view::{self, badge, detector, moment};

/// Rows of the table of levels.
const ROWS: usize = 60;
/// As many as there are letters.
const MARKS: usize = 26;

/// Something that happened, at its place on the axis.
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// What is marked, in order of time; comments give way where there is too much.
pub(super) fn marks(document: &Document) -> Vec<Mark> {
    let incident = &document.incident;
    let mark = |at, kind, text: &str| Mark {
        at,
        kind,
        text: text.to_owned(),
    };
    let mut marks = vec![mark(incident.opened_at, "raised", "opened")];
    marks.extend(incident.paged_at.map(|at| mark(at, "raised", "page level")));
    marks.extend(incident.closed_at.map(|at| mark(at, "cleared", "closed")));
    let triggers = document.pages.iter().filter(|page| page.action == "trigger");
    marks.extend(triggers.filter_map(|page| {
        let told = page.attempts.iter().find(|attempt| attempt.outcome == "delivered")?;
        let to = page.destination.as_deref().unwrap_or("somebody");
        Some(mark(told.at, "paged", &format!("page delivered to {to}")))
    }));
    for event in &document.journal {
        let by = event.payload["by"].as_str().unwrap_or("someone");
        let told = match event.kind.as_str() {
            "acknowledged" => Some(("taken", format!("acknowledged by {by}"))),
            "handed_over" => Some(("taken", format!("handed over by {by}"))),
            "re_alarmed" => Some(("raised", "paged again".to_owned())),
            "work_ordered" => Some(("other", "work ordered".to_owned())),
            "commented" => Some(("said", format!("comment by {by}"))),
            _ => None,
        };
        marks.extend(told.map(|(kind, text)| mark(event.at, kind, &text)));
    }
    for one in &document.suppressions {
        let what = one.kind.replace('_', " ");
        marks.push(mark(one.from, "other", &format!("{what} by {}", one.by)));
        marks.extend(one.ended_at.map(|at| mark(at, "other", &format!("no longer {what}"))));
    }
    for change in &document.changes {
        let what = if change.kind == "bundle" {
            "model"
        } else {
            "alarm limits"
        };
        let to = change.to.map_or("none".to_owned(), |to| format!("#{to}"));
        marks.push(mark(change.at, "other", &format!("{what} {to} in force")));
    }
    let axis = TimeAxis::of(&document.window);
    marks.retain(|mark| axis.share(mark.at).is_some());
    if marks.len() > MARKS {
        marks.retain(|mark| mark.kind != "said");
    }
    marks.sort_by_key(|mark| mark.at);
    marks.truncate(MARKS);
    marks
}

pub(super) fn letter(nth: usize) -> char {
    char::from(b'A' + (nth % MARKS) as u8)
}

/// Lines at the marks over a chart, with their letters on top.
pub(super) fn marked(axis: TimeAxis, marks: &[Mark], lettered: bool) -> Markup {
    html! {
        @for (nth, mark) in marks.iter().enumerate() {
            @if let Some(share) = axis.share(mark.at) {
                line.mark.(mark.kind) x1=(percent(share)) x2=(percent(share)) y1="0" y2="100%" {}
                @if lettered {
                    text.letter.(mark.kind) x=(percent(share)) y=(if nth % 2 == 0 { "-5" } else { "-17" }) { (letter(nth)) }
                }
            }
        }
    }
}

/// The time in which the incident was open, shaded.
pub(super) fn shaded(document: &Document, axis: TimeAxis) -> Markup {
    let from = axis.x(document.incident.opened_at);
    let to = axis.x(document.incident.closed_at.unwrap_or(document.window.to));
    html! { rect.open x=(unit(from)) y="0" width=(unit((to - from).max(1.0))) height="1000" {} }
}

pub(super) fn section(view: View<'_>, marks: &[Mark]) -> Markup {
    let document = view.document;
    let window = &document.window;
    html! {
        section.card #levels-section {
            div.card-head {
                h2 { "Course" }
                p.sub { "Each reading by its own alarm limits of the time: 1 is the alert line, 2 the page line. Logarithmic above." }
            }
            (chart(document, marks))
            div.chart-foot {
                @for (nth, sensor) in document.sensors.iter().enumerate() {
                    span.key { (swatch(nth)) (sensor.sensor) @if sensor.sensor == document.incident.deciding_sensor { " (decided)" } }
                }
                span.key { svg viewBox="0 0 20 12" { rect.open width="20" height="12" {} } "the incident was open" }
                @if document.gaps.iter().any(|gap| gap.sensor == document.incident.deciding_sensor) {
                    span.key { svg viewBox="0 0 20 12" { rect.gap width="20" height="12" {} } "no readings" }
                }
            }
            ol.marks aria-label="Marked in the charts" {
                @for (nth, mark) in marks.iter().enumerate() {
                    li { b.(mark.kind) { (letter(nth)) } " " (mark.text) " " (moment(Some(mark.at))) }
                }
            }
            p.hint {
                (thinned(window.readings, window.kept, window.intervals)) " The time that is looked at goes from " (moment(Some(window.from)))
                " to " (moment(Some(window.to))) "."
            }
            (judged_by(view))
            (tables(document))
        }
    }
}

/// How much of what was read is shown, in words.
fn thinned(readings: u64, kept: u64, intervals: u32) -> String {
    let (all, shown) = (view::count(readings), view::count(kept));
    if readings == kept {
        format!("All {all} readings of the machine in this time are here.")
    } else {
        format!(
            "Of {all} readings of the machine in this time {shown} are here: of each of {intervals} equal intervals and each sensor the one \
             with the highest level."
        )
    }
}

fn swatch(nth: usize) -> Markup {
    html! { svg viewBox="0 0 20 12" { path.series.(series(nth)) d="M0 6H20" {} } }
}

fn series(nth: usize) -> &'static str {
    ["s1", "s2", "s3", "s4", "s5", "s6"][nth % 6]
}

fn chart(document: &Document, marks: &[Mark]) -> Markup {
    let axis = TimeAxis::of(&document.window);
    let readings = document.sensors.iter().flat_map(|sensor| &sensor.readings);
    let highest = readings.filter_map(|reading| reading.level).fold(0.0, f32::max);
    let scale = LevelScale::up_to(highest);
    let deciding = document.incident.deciding_sensor.as_str();
    // The one that decided is drawn last, over the others.
    let mut order: Vec<(usize, &Sensor)> = document.sensors.iter().enumerate().collect();
    order.sort_by_key(|(_, sensor)| sensor.sensor == deciding);
    let drawing = html! {
        (shaded(document, axis))
        @for gap in document.gaps.iter().filter(|gap| gap.sensor == deciding) {
            rect.gap x=(unit(axis.x(gap.from))) y="0" width=(unit(axis.x(gap.to) - axis.x(gap.from))) height="1000" {}
        }
        @for (nth, sensor) in order {
            path.series.(series(nth)).decided[sensor.sensor == deciding] d=(course(document, sensor, axis, scale)) {}
        }
    };
    let over = html! {
        @for (line, level) in [("alert-line", 1.0), ("page-line", 2.0)] {
            line.(line) x1="0" x2="100%" y1=(percent(1.0 - scale.share(level))) y2=(percent(1.0 - scale.share(level))) {}
        }
        (marked(axis, marks, true))
    };
    Frame {
        label: "Level of each sensor before, during and after the incident; the table below has the numbers",
        size: "tall",
        side: scale.ticks(),
        bottom: times(axis),
        drawing,
        over,
    }
    .draw()
}

/// A sensor's line, broken where it has a gap and where it was not judged.
fn course(document: &Document, sensor: &Sensor, axis: TimeAxis, scale: LevelScale) -> String {
    let mut last: Option<Timestamp> = None;
    let points = sensor.readings.iter().filter_map(|reading| {
        let level = reading.level;
        let at = reading.captured_at;
        let broken = last.is_none_or(|last| {
            let gaps = document.gaps.iter().filter(|gap| gap.sensor == sensor.sensor);
            gaps.into_iter().any(|gap| gap.from >= last && gap.to <= at)
        });
        last = level.map(|_| at);
        Some((broken, axis.x(at), scale.y(level?)))
    });
    path(points)
}

/// Which limits, model and baseline judged the sensor that decided, and when: a row for each time in which they stayed the same.
fn judged_by(view: View<'_>) -> Markup {
    let incident = &view.document.incident;
    let Some(sensor) = view
        .document
        .sensors
        .iter()
        .find(|one| one.sensor == incident.deciding_sensor)
    else {
        return html! {};
    };
    let same = |a: &Reading, b: &Reading| {
        (a.threshold_set_id, a.bundle_id, a.baseline_id) == (b.threshold_set_id, b.bundle_id, b.baseline_id)
    };
    let number = |number: Option<i32>| number.map_or("–".to_owned(), |number| format!("#{number}"));
    html! {
        h3 { "Judged by" }
        div.table-frame {
            table {
                thead { tr {
                    th scope="col" { "From" } th scope="col" { "Alarm limits" } th scope="col" { "Model" } th scope="col" { "Baseline" }
                    th.num scope="col" { "Alert line" } th.num scope="col" { "Page line" }
                } }
                tbody {
                    @for run in sensor.readings.chunk_by(same) {
                        @let first = &run[0];
                        @let lines = run.iter().find_map(|one| one.detectors.iter().find(|line| line.detector == incident.deciding_detector));
                        tr {
                            th scope="row" { (moment(Some(first.captured_at))) }
                            td { @match first.threshold_set_id {
                                Some(set) => (view.linked(&format!("/limits#set-{set}"), &html! { "#" (set) })),
                                None => "none",
                            } }
                            td { @match first.bundle_id {
                                Some(bundle) => (view.linked(&format!("/models#bundle-{bundle}"), &html! { "#" (bundle) })),
                                None => "none",
                            } }
                            td { (number(first.baseline_id)) }
                            td.num { (lines.map_or("–".to_owned(), |line| view::number(f64::from(line.alert_line)))) }
                            td.num { (lines.map_or("–".to_owned(), |line| view::number(f64::from(line.page_line)))) }
                        }
                    }
                }
            }
        }
        p.hint { "Lines of the detector that decided the opening, " (detector(&incident.deciding_detector)) ", on " (incident.deciding_sensor) "." }
    }
}

fn tables(document: &Document) -> Markup {
    html! {
        @for sensor in &document.sensors {
            details {
                summary { "Levels of " (sensor.sensor) " as a table" }
                (table(sensor))
            }
        }
    }
}

/// Evenly chosen readings; the exports have all that are here.
fn table(sensor: &Sensor) -> Markup {
    let step = sensor.readings.len().div_ceil(ROWS).max(1);
    let highest = |run: &[Reading]| {
        let level = |one: &Reading| one.level.unwrap_or(f32::NEG_INFINITY);
        run.iter().max_by(|a, b| level(a).total_cmp(&level(b))).cloned()
    };
    html! {
        @if step > 1 { p.sub { "The highest of each " (step) " readings that are here; the exports have them all." } }
        div.table-frame {
            table {
                thead { tr { th scope="col" { "Captured" } th scope="col" { "Verdict" } th scope="col" { "Decided by" } th.num scope="col" { "Level" } } }
                tbody {
                    @for reading in sensor.readings.chunks(step).filter_map(highest) {
                        tr {
                            th scope="row" { (moment(Some(reading.captured_at))) }
                            td { (badge(&reading.verdict)) }
                            td { (detector(&reading.decided_by)) }
                            td.num { (reading.level.map_or("–".to_owned(), view::level)) }
                        }
                    }
                }
            }
        }
    }
}
