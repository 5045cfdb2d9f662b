//! What the review's charts share: a time axis, the scale of levels, and the frame around a drawing.
//!
//! A drawing is stretched to its frame's width: paths and areas are in units of 1000 by 1000, texts beside them in shares of the
//! frame, so that they keep their size on a phone and on paper.

use std::time::Duration;

use maud::{Markup, html};
use tocsin_contracts::incident_review::Window;
use tocsin_domain::Timestamp;

/// The side of a drawing in its own units.
pub(super) const SIDE: f64 = 1_000.0;

/// The most labels on a time axis.
const TICKS: u64 = 7;

/// Lengths between labels, in minutes.
const STEPS: [u64; 18] = [
    1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 5_760, 10_080, 20_160, 43_200, 86_400,
];

/// From a time to another, over the whole width.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeAxis {
    from: Timestamp,
    to: Timestamp,
}

/// A label on an axis: where, from 0 to 1, and what.
pub(super) struct Tick {
    pub(super) place: f64,
    pub(super) text: String,
    /// The time behind it, where it is one.
    at: Option<Timestamp>,
}

impl Tick {
    pub(super) fn new(place: f64, text: impl Into<String>) -> Self {
        Self {
            place,
            text: text.into(),
            at: None,
        }
    }
}

impl TimeAxis {
    pub(super) fn of(window: &Window) -> Self {
        Self {
            from: window.from,
            to: window.to,
        }
    }

    /// Where a time lies, from 0 to 1; none outside.
    pub(super) fn share(self, at: Timestamp) -> Option<f64> {
        let whole = (self.to.as_micros() - self.from.as_micros()).max(1) as f64;
        let share = (at.as_micros() - self.from.as_micros()) as f64 / whole;
        (0.0..=1.0).contains(&share).then_some(share)
    }

    /// The same in a drawing's units; what is outside lies on its edge.
    pub(super) fn x(self, at: Timestamp) -> f64 {
        let inside = at.clamp(self.from, self.to);
        self.share(inside).unwrap_or_default() * SIDE
    }

    fn ticks(self) -> Vec<Tick> {
        let minutes = self.to.since(self.from).as_secs() / 60;
        let step = STEPS
            .into_iter()
            .find(|step| minutes / step <= TICKS)
            .unwrap_or(172_800);
        let step = Duration::from_secs(60 * step);
        let mut at = self.from.floor_to(step) + step;
        let mut ticks: Vec<Tick> = Vec::new();
        while let Some(place) = self.share(at) {
            let text = at.to_string();
            let day = if ticks.is_empty() || step >= Duration::from_hours(12) || &text[11..16] == "00:00" {
                format!("{} ", &text[5..10])
            } else {
                String::new()
            };
            ticks.push(Tick {
                place,
                text: format!("{day}{}", &text[11..16]),
                at: Some(at),
            });
            at = at + step;
        }
        ticks
    }
}

/// Levels over a height, logarithmic above the page line so that both lines stay in sight: from 0 at the bottom to `top`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelScale {
    top: f32,
}

impl LevelScale {
    /// One that has room for levels up to `highest`.
    pub(super) fn up_to(highest: f32) -> Self {
        Self {
            top: (highest * 1.15).max(2.6),
        }
    }

    /// From 0 at the bottom to 1.
    pub(super) fn share(self, level: f32) -> f64 {
        f64::from(level.clamp(0.0, self.top).ln_1p() / self.top.ln_1p())
    }

    pub(super) fn y(self, level: f32) -> f64 {
        (1.0 - self.share(level)) * SIDE
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        let round = [0.0_f32, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];
        round
            .into_iter()
            .filter(|level| *level <= self.top)
            .map(|level| {
                let text = match level {
                    1.0 => "alert 1".to_owned(),
                    2.0 => "page 2".to_owned(),
                    other => other.to_string(),
                };
                Tick::new(self.share(level), text)
            })
            .collect()
    }
}

/// A chart: what it shows, its axes, what is drawn in its own units, and what stands over that in shares of the frame.
pub(super) struct Frame<'a> {
    /// For whoever does not see it.
    pub(super) label: &'a str,
    /// `tall`, `short` or `small`.
    pub(super) size: &'a str,
    /// Up the side, from the bottom.
    pub(super) side: Vec<Tick>,
    /// Along the bottom.
    pub(super) bottom: Vec<Tick>,
    pub(super) drawing: Markup,
    pub(super) over: Markup,
}

/// The time axis along the bottom.
pub(super) fn times(axis: TimeAxis) -> Vec<Tick> {
    axis.ticks()
}

impl Frame<'_> {
    pub(super) fn draw(&self) -> Markup {
        html! {
            div.plot.(self.size) {
                svg role="img" aria-label=(self.label) {
                    @for tick in &self.side {
                        line.grid x1="0" x2="100%" y1=(percent(1.0 - tick.place)) y2=(percent(1.0 - tick.place)) {}
                    }
                    svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%" { (self.drawing) }
                    (self.over)
                    @for tick in &self.side {
                        text.side x="-8" y=(percent(1.0 - tick.place)) dy=".32em" { (tick.text) }
                    }
                    @for (nth, tick) in self.bottom.iter().enumerate() {
                        line.tick x1=(percent(tick.place)) x2=(percent(tick.place)) y1="100%" y2="100%" {}
                        text.bottom.odd[nth % 2 == 1] x=(percent(tick.place)) y="100%" dy="17" data-at=[tick.at.map(Timestamp::as_micros)] { (tick.text) }
                    }
                }
            }
        }
    }
}

/// A share as an attribute.
pub(super) fn percent(share: f64) -> String {
    format!("{:.3}%", share * 100.0)
}

/// A number in a path: a tenth of a unit is below what is seen.
pub(super) fn unit(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A line through points; each begins anew where it says so.
pub(super) fn path(points: impl IntoIterator<Item = (bool, f64, f64)>) -> String {
    let mut path = String::new();
    for (nth, (anew, x, y)) in points.into_iter().enumerate() {
        let command = if anew || nth == 0 { 'M' } else { 'L' };
        path.push_str(&format!("{command}{} {}", unit(x), unit(y)));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(minutes: i64) -> TimeAxis {
        let from = Timestamp::parse("from", "2026-03-01T23:10:00Z").unwrap();
        TimeAxis {
            from,
            to: from + Duration::from_secs(60 * minutes.unsigned_abs()),
        }
    }

    #[test]
    fn times_are_told_at_round_ones_and_the_day_where_it_begins() {
        let texts = |minutes| -> Vec<String> { axis(minutes).ticks().into_iter().map(|tick| tick.text).collect() };
        assert_eq!(texts(120), ["03-01 23:30", "03-02 00:00", "00:30", "01:00"]);
        assert!(texts(60 * 24 * 400).len() <= TICKS as usize + 1);
        assert_eq!(axis(60).share(axis(60).from), Some(0.0));
        assert_eq!(axis(60).share(axis(120).to), None);
        assert_eq!(unit(axis(60).x(axis(120).to)), "1000");
    }

    #[test]
    fn both_lines_stay_in_sight_however_high_a_level_is() {
        let scale = LevelScale::up_to(900.0);
        assert!(scale.share(1.0) > 0.09 && scale.share(2.0) - scale.share(1.0) > 0.05);
        let (zero, nothing) = (scale.share(-3.0), scale.share(0.0));
        assert_eq!((zero, nothing), (0.0, 0.0));
        assert_eq!(
            path([(false, 1.0, 2.0), (false, 3.04, 4.0), (true, 5.0, 6.0)]),
            "M1 2L3 4M5 6"
        );
    }
}
