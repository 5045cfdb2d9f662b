//! Whether a simpler method does as well: told first, and shown with the losing rows.

use maud::{Markup, html};
use tocsin_detect::{FitError, Rows, percentile};
use tocsin_domain::Detector;
use tocsin_models::{TargetSpace, Variant};

use super::Material;
use super::errors::{CONFIDENCE, LINES};
use crate::chart::number;
use crate::linear::LinearModel;

/// Most bins of which all principal components are computed here: their time grows with the cube.
const MOST_BINS: u16 = 1_024;

/// How one detector's lines carry over to rows it was not fitted on.
struct Carried {
    name: String,
    /// For each of [`LINES`]: the line by rows trained on, and the share of the others above it.
    lines: Vec<(f64, f64)>,
}

/// What came of comparing.
pub(super) struct Comparison {
    /// The network over one spectrum, which is what is measured.
    network: String,
    /// The network over windows that it stands beside, if there is one.
    temporal: Option<String>,
    variant: Variant,
    bins: u16,
    latent: usize,
    /// Healthy rows that nothing was fitted on.
    rows: usize,
    /// Mean squared error of the model, and of principal components with as many numbers in the same space: on the rows
    /// trained on, and on those nothing was fitted on.
    model: (f64, f64),
    components: Option<(f64, f64)>,
    carried: Vec<Carried>,
}

impl Comparison {
    pub(super) fn of(material: &Material<'_>) -> Result<Self, FitError> {
        let manifest = material.manifest();
        let latent = usize::from(manifest.latent);
        let comparable = manifest.target_space == TargetSpace::StandardisedLog
            && latent <= usize::from(manifest.bins)
            && manifest.bins <= MOST_BINS;
        let detectors = [
            (Detector::Residual, manifest.network_name()),
            (Detector::Pca, "principal components".to_owned()),
            (Detector::Mahalanobis, "Mahalanobis distance".to_owned()),
            (Detector::Isolation, "isolation forest".to_owned()),
        ];
        Ok(Self {
            network: material.over_one_spectrum(),
            temporal: manifest.temporal.as_ref().map(|_| manifest.network_name()),
            variant: manifest.variant,
            bins: manifest.bins,
            latent,
            rows: material.calibration.len(),
            model: (material.train.mean_square, material.calibration.mean_square),
            components: comparable.then(|| components(material, latent)).transpose()?,
            carried: detectors
                .into_iter()
                .map(|(detector, name)| carried(material, detector, name))
                .collect(),
        })
    }

    /// The report's first line.
    pub(super) fn lead(&self) -> String {
        let Self { latent, rows, .. } = self;
        let network = match &self.temporal {
            Some(temporal) => format!("{} (the network over one spectrum beside {temporal})", self.network),
            None => self.network.clone(),
        };
        match self.components {
            _ if *rows == 0 => {
                "There were no healthy rows that nothing was fitted on: nothing here says how it does on new readings."
                    .to_owned()
            }
            _ if self.variant == Variant::Pca => {
                format!(
                    "This is the simple method itself: {latent} principal components, held against the others below."
                )
            }
            _ if self.variant == Variant::Mahalanobis => {
                "This is a simple method itself, the Mahalanobis distance: it rebuilds nothing, and is held against the others below."
                    .to_owned()
            }
            None if self.bins > MOST_BINS => {
                format!("{network} was not held against principal components: there are too many bins ({}).", self.bins)
            }
            None => format!("{network} rebuilds in a space of its own; principal components can't be held against it."),
            Some((_, components)) => {
                let (model, components) = (self.model.1, components);
                let numbers = format!("{} against {}", number(model), number(components));
                let of = format!("{rows} healthy rows that nothing was fitted on");
                if components <= model {
                    format!(
                        "{latent} principal components rebuild {of} no worse than {network}: the mean squared error of the network is \
                         {numbers} of theirs. The simpler method may do; see what tocsin evaluate says of faults."
                    )
                } else {
                    format!(
                        "{network} rebuilds {of} better than as many principal components ({latent}): mean squared error {numbers}."
                    )
                }
            }
        }
    }

    pub(super) fn section(&self) -> Markup {
        let shown = |share: f64| format!("{} %", number(100.0 * share));
        html! {
            h2 #comparison { "Beside principal components and Mahalanobis distance" }
            h3 { "Rebuilding: mean squared error in standardised log spectra" }
            div.table { table {
                thead { tr { th { "Model" } th.num { "Rows trained on" } th.num { "Rows nothing was fitted on" } } }
                tbody {
                    tr { td { (self.network) } td.num { (number(self.model.0)) } td.num { (number(self.model.1)) } }
                    @if let Some((train, calibration)) = self.components {
                        tr { td { (self.latent) " principal components" } td.num { (number(train)) } td.num { (number(calibration)) } }
                    }
                }
            } }
            @if let Some(temporal) = &self.temporal {
                p.sub { (self.network) " is the network over one spectrum. What " (temporal) " rebuilds by windows was not held against components of one spectrum." }
            }
            @if self.variant == Variant::Mahalanobis {
                p.sub { "A Mahalanobis model's error is the distance itself, about one for healthy rows: it rebuilds nothing, and isn't worse for that." }
            }
            h3 { "Healthy rows above lines set by the rows trained on" }
            p {
                "Nominal are 0.5 % and 0.05 %. Much more means that the detector knows its training rows better than their like; alarm limits, which are set on rows nothing was fitted on, make up for it."
            }
            div.table { table {
                thead { tr {
                    th { "Detector" }
                    @for (_, name) in LINES { th.num { (name) " line" } th.num { "above it, of " (self.rows) } }
                } }
                tbody { @for carried in &self.carried { tr {
                    td { (carried.name) }
                    @for (line, share) in &carried.lines { td.num { (number(*line)) } td.num { (if self.rows == 0 { "–".to_owned() } else { shown(*share) }) } }
                } } }
            } }
        }
    }
}

fn carried(material: &Material<'_>, detector: Detector, name: String) -> Carried {
    let (train, calibration) = (material.train.of(detector), material.calibration.of(detector));
    let line = |(share, _): &(f64, &str)| {
        let line = percentile(&train, *share, CONFIDENCE).map_or(f64::NAN, |line| line.value);
        let above = calibration.iter().filter(|score| **score > line).count();
        (line, above as f64 / calibration.len() as f64)
    };
    Carried {
        name,
        lines: LINES.iter().map(line).collect(),
    }
}

/// Mean squared error of as many principal components, fitted on the rows trained on.
fn components(material: &Material<'_>, latent: usize) -> Result<(f64, f64), FitError> {
    let (bins, s0) = (material.train.rows.bins(), material.manifest().s0);
    let (train, calibration) = (material.train.log(s0), material.calibration.log(s0));
    let train = Rows::new(&train, bins)?;
    let model = LinearModel::fit(Variant::Pca, train, latent)?;
    let calibration = if calibration.is_empty() {
        f64::NAN
    } else {
        model.error(Rows::new(&calibration, bins)?)
    };
    Ok((model.error(train), calibration))
}
