//! What the detectors make of healthy rows: histograms with the lines, and the rows that come off worst.

use maud::{Markup, html};
use tocsin_detect::percentile;
use tocsin_detect::percentile::Support;
use tocsin_domain::Detector;
use tocsin_models::{Network, NetworkError};

use super::Material;
use super::part::Part;
use crate::chart::{Axis, Plot, number};

/// Parts of a histogram.
const PARTS: usize = 60;
/// Rows of the heat map, and the most columns: of bins that share one the largest error is shown.
const WORST: usize = 40;
const COLUMNS: usize = 256;
/// Rows named below the map.
const NAMED: usize = 10;
/// Share of the fields that the full colour is beyond.
const FULL: f64 = 0.995;
/// The guide's lines, and the confidence of their intervals.
pub(super) const LINES: [(f64, &str); 2] = [(0.995, "99.5 %"), (0.9995, "99.95 %")];
pub(super) const CONFIDENCE: f64 = 0.95;

pub(super) fn histograms(material: &Material<'_>) -> Markup {
    let detectors = [
        (Detector::Residual, material.manifest().network_name()),
        (Detector::Pca, "principal components".to_owned()),
        (Detector::Mahalanobis, "Mahalanobis distance".to_owned()),
    ];
    html! {
        h2 #histograms { "Errors of healthy rows" }
        p {
            "The lines stand at the 99.5th and 99.95th percentile of " (material.judged().1)
            ": alarm limits are proposed from the same rows, and may be moved by a person."
        }
        @for (detector, name) in detectors { (histogram(material, detector, &name)) }
    }
}

fn histogram(material: &Material<'_>, detector: Detector, name: &str) -> Markup {
    let (train, calibration) = (material.train.of(detector), material.calibration.of(detector));
    let judged = material.judged().0.of(detector);
    let lines: Vec<_> = LINES
        .iter()
        .filter_map(|(share, text)| Some((*text, percentile(&judged, *share, CONFIDENCE).ok()?)))
        .collect();
    let x = Axis::log_over("score", train.iter().chain(&calibration).copied());
    let edges = x.edges(PARTS);
    let counted = [
        ("c0", "rows trained on", shares(&x, &train)),
        ("c1", "rows nothing was fitted on", shares(&x, &calibration)),
    ];
    let heights = || counted.iter().flat_map(|(_, _, shares)| shares).copied();
    let y = Axis::over("rows, %", heights().chain([0.0]));
    let mut plot = Plot::new(format!("Histogram of the scores of {name}"), x, y);
    for (class, text, shares) in &counted {
        if !shares.is_empty() {
            plot.steps(class, &edges, shares);
            plot.key(*class, *text);
        }
    }
    for (nth, (text, line)) in lines.iter().enumerate() {
        plot.limit(line.value, text, nth);
    }
    let thin = lines
        .iter()
        .filter(|(_, line)| line.support != Support::Sufficient)
        .map(|(text, _)| *text);
    let thin: Vec<&str> = thin.collect();
    html! {
        h3 { (name) }
        (plot.draw())
        p.sub {
            @for (text, line) in &lines { (text) " line " (number(line.value)) ". " }
            @if !thin.is_empty() { (judged.len()) " rows are too few for the line at " (thin.join(" and ")) ": it is little more than the greatest score." }
        }
    }
}

/// Share of the scores in each part of the axis, in percent; nothing without scores.
fn shares(axis: &Axis, scores: &[f64]) -> Vec<f64> {
    if scores.is_empty() {
        return Vec::new();
    }
    let mut shares = vec![0.0; PARTS];
    for score in scores {
        let part = (axis.share(*score) * PARTS as f64) as usize;
        shares[part.min(PARTS - 1)] += 100.0 / scores.len() as f64;
    }
    shares
}

/// The rows that are rebuilt worst, and where.
pub(super) fn worst(material: &Material<'_>) -> Result<Markup, NetworkError> {
    let (part, which) = material.judged();
    let places = worst_places(part);
    let bins = part.rows.bins();
    let linear = part.rows.select(&places);
    let wanted: Vec<usize> = (0..places.len()).collect();
    let mut session = Network::load(material.bundle)?.session()?;
    let errors = session.run(linear.linear(), &wanted)?.bin_errors;
    let pooled = bins.div_ceil(COLUMNS);
    let columns = bins.div_ceil(pooled);
    let field = |row: usize, column: usize| {
        let row = &errors[row * bins..][..bins];
        let (from, to) = (column * pooled, ((column + 1) * pooled).min(bins));
        f64::from(row[from..to].iter().copied().fold(0.0, f32::max))
    };
    let fields: Vec<f64> = (0..places.len() * columns)
        .map(|at| field(at / columns, at % columns))
        .collect();
    let full = percentile(&fields, FULL, CONFIDENCE).map_or(1.0, |full| full.value.max(f64::MIN_POSITIVE));
    let spec = material.request.train.spec();
    let unit = spec.axis.unit();
    let mut plot = Plot::new(
        "Squared error of each frequency of the rows rebuilt worst",
        Axis::over(format!("frequency, {unit}"), [spec.f_min, spec.f_max]),
        Axis::blank("rows, the worst on top"),
    );
    plot.cells((places.len(), columns), |row, column| field(row, column) / full);
    let farthest = |row: usize| {
        let row = &errors[row * bins..][..bins];
        let bin = (0..bins).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
        format!("{} {unit}", number(spec.bin_centre(bin)))
    };
    Ok(html! {
        h2 #worst { "The healthy rows rebuilt worst" }
        p {
            "The " (places.len()) " worst of " (which) ", one a line; the full colour is a squared error of " (number(full))
            " in the model's space. One column over many rows is a frequency the model did not learn; one row over many columns a reading unlike the others."
            @if material.manifest().temporal.is_some() { " Both are those of " (material.over_one_spectrum()) ", the network over one spectrum; scores by window are in the histograms above." }
        }
        (plot.draw())
        div.table { table {
            thead { tr { th { "Sensor" } th { "Taken at" } th.num { "Mean squared error" } th { "Largest error at" } } }
            tbody { @for (nth, place) in places.iter().enumerate().take(NAMED) {
                @let (sensor, taken) = part.name(*place);
                tr { td { (sensor) } td { (taken) } td.num { (number(part.mean_squares[*place])) } td { (farthest(nth)) } }
            } }
        } }
    })
}

/// Those with the largest errors of all that the map shows, the worst first.
fn worst_places(part: &Part) -> Vec<usize> {
    let mut places: Vec<usize> = (0..part.len()).collect();
    places.sort_by(|a, b| part.mean_squares[*b].total_cmp(&part.mean_squares[*a]));
    places.truncate(WORST);
    places
}
