//! Spectra: what was observed against the baseline and what the model makes of it. Three stand still, for paper and for those
//! without scripts; a slider goes through all of them.
//!
//! The slider shows spectra that are not kept as well, rebuilt from their latents: by a line of their own, and with their error.
//! None of the three that stand still is one of them.

use maud::{Markup, html};
use tocsin_contracts::incident_review::{Capture, Document, Phase, Spectra};
use tocsin_domain::Timestamp;

use super::plot::{Frame, SIDE, Tick, path};
use crate::rebuilding::said as rebuilding_said;
use crate::view::{self, level, moment};

/// Points of a line: of bins that share one the largest is kept, so that a narrow line stays visible.
const POINTS: usize = 512;
/// What is drawn below the largest amplitude, in decades.
const DECADES: f32 = 6.0;

/// The lines, as they are named on screen, in the markup and in the style.
const LINES: [(&str, &str); 4] = [
    ("observed", "observed"),
    ("baseline", "baseline: its own healthy self"),
    ("rebuilt", "reconstructed by the model from healthy machines"),
    ("latent", "not kept: rebuilt from its latent, not evidence"),
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

fn lines(capture: &Capture) -> [&[f32]; 4] {
    let rebuilt = capture.rebuilt.as_ref();
    [
        &capture.observed,
        &capture.baseline,
        &capture.reconstructed,
        rebuilt.map_or(&[][..], |rebuilt| rebuilt.amplitude.as_slice()),
    ]
}

pub(super) fn section(document: &Document) -> Markup {
    let spectra = document.spectra.as_ref().filter(|spectra| !spectra.captures.is_empty());
    html! {
        section.card #spectra-section {
            div.card-head {
                h2 { "Observed against expected" }
                @if let Some(spectra) = spectra { p.sub { (spectra.sensor) ", " (how_many(spectra)) } }
            }
            @match spectra {
                None => p.none { "No spectra are kept of this time." },
                Some(spectra) => (charts(document, spectra)),
            }
            @for rebuilding in document.spectra.iter().flat_map(|spectra| &spectra.rebuilding) { p.hint.rebuilding { (rebuilding_said(rebuilding)) } }
        }
    }
}

fn how_many(spectra: &Spectra) -> String {
    let all = spectra.captures.len();
    match spectra
        .captures
        .iter()
        .filter(|capture| capture.rebuilt.is_some())
        .count()
    {
        0 => format!("{all} spectra of this time"),
        rebuilt => format!(
            "{} spectra of this time, and {rebuilt} rebuilt from their latents",
            all - rebuilt
        ),
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
                    li data-observed=(heights[0]) data-baseline=(heights[1]) data-rebuilt=(heights[2]) data-latent=(heights[3]) { (caption(capture)) }
                }
            }
        }
        @if !any(1) { p.hint { "The sensor had no baseline of its own: it borrowed the fleet's limits." } }
        @if !any(2) { p.hint { "No reconstruction: no model judged these readings, or no scorer answered when this was made." } }
        @if spectra.not_kept > 0 { p.hint { (view::count(u64::from(spectra.not_kept))) " more spectra were chosen; the archive has thinned them away, all but their latents." } }
        @let three = three(document, spectra, worst);
        @if !three.is_empty() {
            h3 { "Before, at the opening, and at the highest level" }
            div.three {
                @for (name, capture) in three {
                    figure {
                        (frame(spectra, capture, scale, "small"))
                        figcaption { strong { (name) } ", " (caption(capture)) }
                    }
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
        @if let Some(rebuilt) = &capture.rebuilt {
            ". " strong { "Rebuilt from its latent" } ": the spectrum is not kept. "
            @if let Some(error) = rebuilt.error { "Mean squared error " (view::number(f64::from(error))) }
            @else { "Its error is not known" }
            "; not evidence"
        }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before the incident",
        Phase::During => "in the incident",
        Phase::After => "after the incident",
    }
}

/// The place of the observed one with the highest level; of the first where none was observed.
fn worst(spectra: &Spectra) -> usize {
    let level = |capture: &Capture| capture.level.unwrap_or(f32::NEG_INFINITY);
    let captures = spectra.captures.iter().enumerate();
    captures
        .filter(|(_, capture)| capture.rebuilt.is_none())
        .max_by(|a, b| level(a.1).total_cmp(&level(b.1)))
        .map_or(0, |(nth, _)| nth)
}

/// Observed ones alone.
fn three<'a>(document: &Document, spectra: &'a Spectra, worst: usize) -> Vec<(&'static str, &'a Capture)> {
    let opened: Timestamp = document.incident.opened_at;
    let observed = spectra.captures.iter().filter(|capture| capture.rebuilt.is_none());
    let (before, after): (Vec<_>, Vec<_>) = observed.partition(|capture| capture.captured_at < opened);
    let mut shown = Vec::new();
    // Some way before it, where there is that much: what leads to an opening is no picture of health.
    shown.extend(before.get(before.len() / 2).map(|capture| ("Before", *capture)));
    shown.extend(after.first().map(|capture| ("At the opening", *capture)));
    let worst = Some(&spectra.captures[worst]).filter(|capture| capture.rebuilt.is_none());
    shown.extend(worst.map(|capture| ("At the highest level", capture)));
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
    use tocsin_contracts::incident_review::{Against, Rebuilt};

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

    #[test]
    fn what_is_rebuilt_is_never_among_those_that_stand_still_and_says_what_it_is() {
        let capture = |level: f32, rebuilt: Option<Rebuilt>| Capture {
            captured_at: Timestamp::from_micros(0),
            phase: Phase::Before,
            level: Some(level),
            rpm: None,
            load: None,
            observed: if rebuilt.is_none() { vec![1.0] } else { Vec::new() },
            baseline: Vec::new(),
            reconstructed: Vec::new(),
            deviation: Vec::new(),
            rebuilt,
        };
        let from_latent = |error| Rebuilt {
            amplitude: vec![1.0],
            deviation: Vec::new(),
            error,
        };
        let spectra = Spectra {
            sensor: "h".to_owned(),
            axis_unit: "Hz".to_owned(),
            amplitude_unit: "g".to_owned(),
            bin_centre: vec![1.0],
            against: Against::Nothing,
            not_kept: 2,
            rebuilding: Vec::new(),
            captures: vec![
                capture(9.0, Some(from_latent(Some(0.25)))),
                capture(0.5, None),
                capture(0.1, Some(from_latent(None))),
            ],
        };
        assert_eq!(worst(&spectra), 1);
        assert_eq!(
            how_many(&spectra),
            "1 spectra of this time, and 2 rebuilt from their latents"
        );
        let said = caption(&spectra.captures[0]).into_string();
        assert!(
            said.contains("Rebuilt from its latent") && said.contains("error 0.2500; not evidence"),
            "{said}"
        );
        let said = caption(&spectra.captures[2]).into_string();
        assert!(said.contains("Its error is not known"), "{said}");
    }
}
