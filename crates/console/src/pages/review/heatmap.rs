//! How far each bin is from what is expected of it, over time: before the incident and in it.
//!
//! Where a spectrum is not kept, one rebuilt from its latent is drawn as a grey hatch; the table of bins knows nothing of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use tocsin_contracts::incident_review::{Against, Capture, Document, Phase, Spectra};

use super::levels::{Mark, marked};
use super::plot::{Frame, SIDE, Tick, TimeAxis, times};
use super::png;
use crate::view;

/// Columns of the image, and the most rows: of bins that share one the farthest is kept, so that a narrow line stays visible.
const COLUMNS: usize = 480;
const ROWS: usize = 256;
/// Bins in the table.
const TOP: usize = 10;
/// Deviations from a baseline are in full colour at this many of its scales.
const FULL_SCALES: f32 = 8.0;
/// Above, and below what is expected; the fainter the nearer, so that the page's own colour shows what is as expected.
const ABOVE: [u8; 3] = [214, 64, 32];
const BELOW: [u8; 3] = [24, 110, 196];
/// Of what is rebuilt, above and below alike.
const REBUILT: [u8; 3] = [128, 128, 128];

/// A capture in the image.
struct Column<'a> {
    place: f64,
    deviation: &'a [f32],
    rebuilt: bool,
}

pub(super) fn section(document: &Document, marks: &[Mark]) -> Markup {
    let drawn = document
        .spectra
        .as_ref()
        .and_then(|spectra| chart(document, spectra, marks));
    html! {
        section.card #heatmap-section {
            div.card-head {
                h2 { "Deviation by frequency" }
                @if let Some(spectra) = &document.spectra { p.sub { (spectra.sensor) ", " (from(spectra.against)) } }
            }
            @match (&drawn, &document.spectra) {
                (Some(chart), Some(spectra)) => { (chart) @if !deviating(spectra).is_empty() { (top(spectra)) } },
                _ => p.none { "No deviations: no spectra are kept of this time, or there is neither a baseline nor a model to hold them against." },
            }
            p.caution { "High deviation is correlation, not a diagnosis: it says where the machine is unlike its healthy self, not why." }
        }
    }
}

fn from(against: Against) -> &'static str {
    match against {
        Against::Baseline => "held against its own baseline, in the scales of each bin",
        Against::Reconstruction => {
            "held against what the model makes of each reading (it has no baseline): the root of the squared error in the model's space"
        }
        Against::Nothing => "held against nothing",
    }
}

/// Captures with their deviations, in order of time.
fn deviating(spectra: &Spectra) -> Vec<&Capture> {
    let bins = spectra.bin_centre.len();
    let whole = |capture: &&Capture| capture.deviation.len() == bins && bins > 0;
    spectra.captures.iter().filter(whole).collect()
}

/// The same, with those that are rebuilt.
fn columns(spectra: &Spectra, axis: TimeAxis) -> Vec<Column<'_>> {
    let bins = spectra.bin_centre.len();
    let column = |capture: &'_ Capture| axis.x(capture.captured_at);
    let all = spectra.captures.iter().map(|capture| match &capture.rebuilt {
        Some(rebuilt) => (column(capture), &rebuilt.deviation, true),
        None => (column(capture), &capture.deviation, false),
    });
    let whole = all.filter(|(_, deviation, _)| deviation.len() == bins && bins > 0);
    whole
        .map(|(place, deviation, rebuilt)| Column {
            place,
            deviation,
            rebuilt,
        })
        .collect()
}

fn chart(document: &Document, spectra: &Spectra, marks: &[Mark]) -> Option<Markup> {
    let axis = TimeAxis::of(&document.window);
    let columns = columns(spectra, axis);
    if columns.is_empty() {
        return None;
    }
    let full = full_colour(spectra.against, &deviating(spectra));
    let image = STANDARD.encode(image(&columns, full));
    let (low, high) = (spectra.bin_centre.first()?, spectra.bin_centre.last()?);
    let side = (0..=4).map(|nth| {
        let place = f64::from(nth) / 4.0;
        Tick::new(place, view::number(low + (high - low) * place))
    });
    let frame = Frame {
        label: "How far each frequency is from what is expected of it, over time; the table below names those that stand out",
        size: "tall",
        side: side.collect(),
        bottom: times(axis),
        drawing: html! {
            image href=(format!("data:image/png;base64,{image}")) x="0" y="0" width="1000" height="1000" preserveAspectRatio="none" {}
        },
        over: marked(axis, marks, true),
    };
    let most = full_in_words(full);
    Some(html! {
        (frame.draw())
        div.chart-foot {
            span.key.scale { "−" (most) svg.heat viewBox="0 0 180 10" preserveAspectRatio="none" aria-hidden="true" { (scale()) } "+" (most) " and more" }
            span { "Frequency in " (spectra.axis_unit) " up the side. Above what is expected is red, below is blue, as expected has no colour." }
            @if columns.iter().any(|column| column.rebuilt) {
                span.rebuilt { "Hatched grey is rebuilt from latents, above and below alike, where the spectra are not kept: it is not evidence, and not in the table." }
            }
        }
    })
}

fn full_in_words(full: f32) -> String {
    let text = format!("{full:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The colours from far below to far above.
fn scale() -> Markup {
    const STEPS: i32 = 36;
    html! {
        @for nth in 0..STEPS {
            @let [red, green, blue, alpha] = colour((f64::from(2 * nth + 1 - STEPS) / f64::from(STEPS)) as f32, 1.0);
            rect x=(nth * 5) y="0" width="5" height="10" fill=(format!("rgb({red},{green},{blue})")) fill-opacity=(format!("{:.2}", f64::from(alpha) / 255.0)) {}
        }
    }
}

/// The deviation that has the full colour: so many scales of a baseline; else what one in two hundred is beyond.
fn full_colour(against: Against, captures: &[&Capture]) -> f32 {
    if against == Against::Baseline {
        return FULL_SCALES;
    }
    let mut all: Vec<f32> = captures
        .iter()
        .flat_map(|capture| &capture.deviation)
        .map(|deviation| deviation.abs())
        .filter(|deviation| deviation.is_finite())
        .collect();
    all.sort_by(f32::total_cmp);
    let place = all.len().saturating_sub(1) * 199 / 200;
    all.get(place).copied().unwrap_or(1.0).max(1e-3)
}

fn colour(deviation: f32, full: f32) -> [u8; 4] {
    let [red, green, blue] = if deviation < 0.0 { BELOW } else { ABOVE };
    let strength = (deviation.abs() / full).clamp(0.0, 1.0);
    [red, green, blue, (255.0 * strength.powf(0.8)) as u8]
}

/// The same in grey, and only in stripes.
fn hatched(deviation: f32, full: f32, (row, column): (usize, usize)) -> [u8; 4] {
    let [.., alpha] = colour(deviation, full);
    let [red, green, blue] = REBUILT;
    [red, green, blue, if (row + column) % 4 < 2 { alpha } else { 0 }]
}

/// The highest frequency on top. A column has the colours of the capture before it, for as long as captures usually stand apart.
fn image(captures: &[Column<'_>], full: f32) -> Vec<u8> {
    let bins = captures[0].deviation.len();
    let size = bins.div_ceil(ROWS);
    let rows = bins.div_ceil(size);
    let mut apart: Vec<f64> = captures.windows(2).map(|pair| pair[1].place - pair[0].place).collect();
    apart.sort_by(f64::total_cmp);
    let usual = apart.get(apart.len() / 2).copied().unwrap_or(SIDE / 50.0);
    let longest = (3.0 * usual).max(SIDE / COLUMNS as f64);
    let mut pixels = vec![[0; 4]; rows * COLUMNS];
    for column in 0..COLUMNS {
        let x = (column as f64 + 0.5) * SIDE / COLUMNS as f64;
        let after = captures.partition_point(|capture| capture.place <= x);
        let nearest = after.checked_sub(1).map(|nth| &captures[nth]);
        let Some(nearest) = nearest.filter(|nearest| x - nearest.place <= longest) else {
            continue;
        };
        for (row, pooled) in nearest.deviation.chunks(size).enumerate() {
            let farthest = pooled.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
            let (farthest, row) = (farthest.unwrap_or_default(), rows - 1 - row);
            pixels[row * COLUMNS + column] = if nearest.rebuilt {
                hatched(farthest, full, (row, column))
            } else {
                colour(farthest, full)
            };
        }
    }
    png::rgba(COLUMNS, &pixels)
}

/// The bins that stand out most in the incident, in numbers.
fn top(spectra: &Spectra) -> Markup {
    let captures = deviating(spectra);
    let of = |bin: usize, phase: Phase| -> Vec<f32> {
        let in_phase = captures.iter().filter(|capture| capture.phase == phase);
        in_phase.map(|capture| capture.deviation[bin]).collect()
    };
    let mut bins: Vec<(usize, Option<f32>, Option<f32>)> = (0..spectra.bin_centre.len())
        .map(|bin| (bin, median(of(bin, Phase::Before)), median(of(bin, Phase::During))))
        .collect();
    bins.sort_by(|a, b| {
        let size = |during: Option<f32>| during.map_or(-1.0, f32::abs);
        size(b.2).total_cmp(&size(a.2))
    });
    bins.truncate(TOP);
    let shown = |value: Option<f32>| value.map_or("–".to_owned(), |value| format!("{value:+.2}"));
    html! {
        h3 { "What stands out in the incident" }
        div.table-frame {
            table {
                thead { tr { th scope="col" { "Frequency" } th.num scope="col" { "Before (median)" } th.num scope="col" { "In the incident (median)" } th.num scope="col" { "Farthest" } } }
                tbody {
                    @for (bin, before, during) in bins {
                        @let farthest = of(bin, Phase::During).into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                        tr {
                            th scope="row" { (view::number(spectra.bin_centre[bin])) " " (spectra.axis_unit) }
                            td.num { (shown(before)) } td.num { (shown(during)) } td.num { (shown(farthest)) }
                        }
                    }
                }
            }
        }
    }
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_expected_has_no_colour_and_what_is_far_has_all_of_it() {
        assert_eq!(colour(0.0, 8.0)[3], 0);
        assert_eq!(colour(9.0, 8.0), [ABOVE[0], ABOVE[1], ABOVE[2], 255]);
        assert_eq!(colour(-8.0, 8.0), [BELOW[0], BELOW[1], BELOW[2], 255]);
        assert_eq!(hatched(9.0, 8.0, (0, 0)), [128, 128, 128, 255]);
        assert_eq!(hatched(-9.0, 8.0, (1, 2)), [128, 128, 128, 0], "a stripe between");
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
