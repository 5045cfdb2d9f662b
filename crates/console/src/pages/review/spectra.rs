//! Spectra: what was observed against the baseline and what the model makes of it. Three stand still, for paper and for those
//! without scripts; a slider goes through all of them.

use maud::{Markup, html};
use tocsin_contracts::incident_review::{Capture, Document, Phase, Spectra};
use tocsin_domain::Timestamp;

use super::plot::{Frame, SIDE, Tick, path};
use crate::view::{self, level, moment};

/// Points of a line: of bins that share one the largest is kept, so that a narrow line stays visible.
const POINTS: usize = 512;
/// What is drawn below the largest amplitude, in decades.
const DECADES: f32 = 6.0;

/// The three lines, as they are named on screen, in the markup and in the style.
const LINES: [(&str, &str); 3] = [
    ("observed", "observed"),
    ("baseline", "baseline: its own healthy self"),
    ("rebuilt", "reconstructed by the model from healthy machines"),
];

/// Amplitudes over a height, logarithmic.
#[derive(Clone, Copy)]
struct Scale {
    low: f32,
    high: f32,
}

impl Scale {
    fn of(spectra: &Spectra) -> Self {
        let all = spectra.captures.iter().flat_map(lines).flatten().copied();
        let positive = all.filter(|amplitude| *amplitude > 0.0 && amplitude.is_finite());
        let (low, high) = positive.fold((f32::INFINITY, 0.0f32), |(low, high), one| {
            (low.min(one), high.max(one))
        });
        let high = if high > 0.0 { 1.3 * high } else { 1.0 };
        Self {
            low: low.max(high / 10f32.powf(DECADES)).min(high / 10.0),
            high,
        }
    }

    /// From 0 at the bottom to 1.
    fn share(self, amplitude: f32) -> f64 {
        let inside = amplitude.max(self.low).min(self.high);
        f64::from((inside / self.low).ln() / (self.high / self.low).ln())
    }

    fn ticks(self) -> Vec<Tick> {
        let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
        (first..=last)
            .map(|decade| {
                let text = match decade {
                    -4..=4 => format!("{:.*}", decade.min(0).unsigned_abs() as usize, 10f64.powi(decade)),
                    far => format!("1e{far}"),
                };
                Tick::new(self.share(10f32.powi(decade)), text)
            })
            .collect()
    }
}

fn lines(capture: &Capture) -> [&Vec<f32>; 3] {
    [&capture.observed, &capture.baseline, &capture.reconstructed]
}

pub(super) fn section(document: &Document) -> Markup {
    let spectra = document.spectra.as_ref().filter(|spectra| !spectra.captures.is_empty());
    html! {
        section.card #spectra-section {
            div.card-head {
                h2 { "Observed against expected" }
                @if let Some(spectra) = spectra { p.sub { (spectra.sensor) ", " (spectra.captures.len()) " spectra of this time" } }
            }
            @match spectra {
                None => p.none { "No spectra are kept of this time." },
                Some(spectra) => (charts(document, spectra)),
            }
        }
    }
}

fn charts(document: &Document, spectra: &Spectra) -> Markup {
    let scale = Scale::of(spectra);
    let worst = worst(spectra);
    let any = |place: usize| spectra.captures.iter().any(|capture| !lines(capture)[place].is_empty());
    html! {
        div #slider {
            (frame(spectra, &spectra.captures[worst], scale, "tall"))
            div.chart-foot {
                @for (place, (class, name)) in LINES.into_iter().enumerate() {
                    @if any(place) { span.key { svg viewBox="0 0 20 12" { path.(class) d="M0 6H20" {} } (name) } }
                }
                span { "Frequency in " (spectra.axis_unit) ", amplitude in " (spectra.amplitude_unit) ", logarithmic." }
            }
            p.captured { "Captured " span #captured { (caption(&spectra.captures[worst])) } }
            // Shown by the script.
            label.slide #slide hidden {
                "Time" input type="range" min="0" max=(spectra.captures.len() - 1) value=(worst) step="1";
            }
            ol #captures hidden {
                @for capture in &spectra.captures {
                    @let heights = lines(capture).map(|line| heights(line, scale));
                    li data-observed=(heights[0]) data-baseline=(heights[1]) data-rebuilt=(heights[2]) { (caption(capture)) }
                }
            }
        }
        @if !any(1) { p.hint { "The sensor had no baseline of its own: it borrowed the fleet's limits." } }
        @if !any(2) { p.hint { "No reconstruction: no model judged these readings, or no scorer answered when this was made." } }
        @if spectra.not_kept > 0 { p.hint { (view::count(u64::from(spectra.not_kept))) " more spectra were chosen; the archive has thinned them away." } }
        h3 { "Before, at the opening, and at the highest level" }
        div.three {
            @for (name, capture) in three(document, spectra, worst) {
                figure {
                    (frame(spectra, capture, scale, "small"))
                    figcaption { strong { (name) } ", " (caption(capture)) }
                }
            }
        }
    }
}

fn caption(capture: &Capture) -> Markup {
    html! {
        (moment(Some(capture.captured_at))) ", " (phase(capture.phase))
        @if let Some(at) = capture.level { ", level " (level(at)) } @else { ", not judged" }
        @if let Some(rpm) = capture.rpm { ", " (view::number(f64::from(rpm))) " rpm" }
        @if let Some(load) = capture.load { ", load " (view::number(f64::from(load))) }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before the incident",
        Phase::During => "in the incident",
        Phase::After => "after the incident",
    }
}

fn worst(spectra: &Spectra) -> usize {
    let level = |capture: &Capture| capture.level.unwrap_or(f32::NEG_INFINITY);
    let captures = spectra.captures.iter().enumerate();
    captures
        .max_by(|a, b| level(a.1).total_cmp(&level(b.1)))
        .map_or(0, |(nth, _)| nth)
}

fn three<'a>(document: &Document, spectra: &'a Spectra, worst: usize) -> Vec<(&'static str, &'a Capture)> {
    let opened: Timestamp = document.incident.opened_at;
    let first = spectra.captures.partition_point(|capture| capture.captured_at < opened);
    let mut shown = Vec::new();
    // Some way before it, where there is that much: what leads to an opening is no picture of health.
    shown.extend(
        spectra.captures[..first]
            .get(first / 2)
            .map(|capture| ("Before", capture)),
    );
    shown.extend(spectra.captures.get(first).map(|capture| ("At the opening", capture)));
    shown.push(("At the highest level", &spectra.captures[worst]));
    shown
}

fn frame(spectra: &Spectra, capture: &Capture, scale: Scale, size: &str) -> Markup {
    let centres = &spectra.bin_centre;
    let (low, high) = (
        centres.first().copied().unwrap_or_default(),
        centres.last().copied().unwrap_or_default(),
    );
    let labels = if size == "small" { 2 } else { 6 };
    let bottom = (0..=labels).map(|nth| {
        let place = f64::from(nth) / f64::from(labels);
        Tick::new(place, view::number(low + (high - low) * place))
    });
    Frame {
        label: "Amplitude of each frequency: observed, baseline and reconstructed",
        size,
        side: scale.ticks(),
        bottom: bottom.collect(),
        drawing: html! {
            // The observed line last, over what is expected.
            @for (line, (class, _)) in lines(capture).into_iter().zip(LINES).rev() { path.(class) d=(drawn(line, scale)) {} }
        },
        over: html! {},
    }
    .draw()
}

fn pooled(line: &[f32]) -> impl Iterator<Item = f32> {
    let size = line.len().div_ceil(POINTS).max(1);
    line.chunks(size).map(|run| run.iter().copied().fold(0.0, f32::max))
}

fn drawn(line: &[f32], scale: Scale) -> String {
    let last = pooled(line).count().saturating_sub(1).max(1) as f64;
    path(pooled(line).enumerate().map(|(nth, amplitude)| {
        let y = (1.0 - scale.share(amplitude)) * SIDE;
        (false, nth as f64 / last * SIDE, y.round())
    }))
}

/// The line's points for the script: how far down each is.
fn heights(line: &[f32], scale: Scale) -> String {
    let down = pooled(line).map(|amplitude| (((1.0 - scale.share(amplitude)) * SIDE).round() as i32).to_string());
    down.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_line_survives_pooling_and_the_script_gets_the_same_points() {
        let mut line = vec![0.001f32; 1_500];
        line[1_001] = 10.0;
        let scale = Scale { low: 0.001, high: 10.0 };
        let heights: Vec<String> = heights(&line, scale).split(' ').map(str::to_owned).collect();
        assert_eq!(heights.len(), 500);
        assert_eq!((heights[333].as_str(), heights[0].as_str()), ("0", "1000"));
        assert!(drawn(&line, scale).starts_with("M0 1000L2 1000"));
        assert_eq!(drawn(&[], scale), "");
    }
}
