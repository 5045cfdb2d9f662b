//! Decoded spectra as a page.

use maud::{Markup, html};
use tocsin_domain::SpectrumSpec;
use tocsin_models::Bundle;
use tocsin_trainer::chart::{Axis, Plot, number, page};
use tocsin_trainer::latent_space::Decoded;

/// Most spectra drawn; of more, so many, evenly spread.
const DRAWN: usize = 64;
/// Most numbers in the table of a path.
const LISTED: usize = 40;

/// What is drawn.
pub(super) struct Drawing<'a> {
    pub(super) bundle: &'a Bundle,
    /// What the readings declared; without it frequencies are unknown, and bins are numbered.
    pub(super) spec: Option<&'a SpectrumSpec>,
    pub(super) decoded: &'a Decoded,
    /// Where the spectra come from.
    pub(super) note: String,
}

impl Drawing<'_> {
    /// Draws over each other, and their median bin by bin.
    pub(super) fn sample(&self) -> String {
        let rows = self.rows();
        let mut plot = self.plot("Spectra decoded from draws of the latent space", &[]);
        let drawn = rows.len().min(DRAWN);
        for nth in 0..drawn {
            plot.line("thin c0", self.points(rows[nth * rows.len() / drawn]));
        }
        let median: Vec<f32> = (0..rows[0].len())
            .map(|bin| {
                let mut values: Vec<f32> = rows.iter().map(|row| row[bin]).collect();
                values.sort_by(f32::total_cmp);
                values[values.len() / 2]
            })
            .collect();
        plot.line("c1", self.points(&median));
        plot.key("c0", format!("{drawn} of {} draws", rows.len()));
        plot.key("c1", "median of all, bin by bin");
        self.page("Draws from the latent space", &plot, &html! {})
    }

    /// The path from end to end, with the two readings themselves. `ends`: both, one after the other.
    pub(super) fn path(&self, ends: &[f32]) -> String {
        let rows = self.rows();
        let mut plot = self.plot("Spectra decoded along a path of the latent space", ends);
        for nth in (1..rows.len() - 1).step_by(rows.len().div_ceil(DRAWN)) {
            plot.line("thin c7", self.points(rows[nth]));
        }
        for (class, name, decoded, reading) in [
            ("c0", "first", rows.first(), ends.chunks_exact(rows[0].len()).next()),
            ("c1", "last", rows.last(), ends.chunks_exact(rows[0].len()).nth(1)),
        ] {
            plot.line(class, decoded.into_iter().flat_map(|row| self.points(row)));
            plot.line(
                &format!("dashed {class}"),
                reading.into_iter().flat_map(|row| self.points(row)),
            );
            plot.key(class, format!("{name} reading (dashed) and what is decoded of it"));
        }
        plot.key("c7", "between them");
        let every = self.decoded.errors.len().div_ceil(LISTED);
        let table = html! {
            h2 { "What the bundle says of each step" }
            p.sub { "Its own residual score of the decoded spectrum." }
            div.table { table {
                thead { tr { th.num { "Step" } th.num { "Residual" } } }
                tbody { @for (nth, error) in self.decoded.errors.iter().enumerate().step_by(every) {
                    tr { td.num { (nth + 1) } td.num { (number((*error).into())) } }
                } }
            } }
        };
        self.page("A path of the latent space", &plot, &table)
    }

    fn rows(&self) -> Vec<&[f32]> {
        self.decoded
            .spectra
            .chunks_exact(self.bundle.manifest().bins.into())
            .collect()
    }

    fn plot(&self, label: &str, beside: &[f32]) -> Plot {
        let manifest = self.bundle.manifest();
        let bins = usize::from(manifest.bins);
        let axis_name = self
            .spec
            .map_or("bin".to_owned(), |spec| format!("frequency, {}", spec.axis.unit()));
        let x = Axis::over(axis_name, [self.place(0), self.place(bins - 1)]);
        // Where the transform of the network turns from linear to logarithmic, so does the eye's interest.
        let floor = f64::from(manifest.s0) / 10.0;
        let values = self
            .decoded
            .spectra
            .iter()
            .chain(beside)
            .map(|value| f64::from(*value).max(floor));
        Plot::new(
            label,
            x,
            Axis::log_over(format!("amplitude, {}", manifest.unit), values),
        )
    }

    fn place(&self, bin: usize) -> f64 {
        self.spec.map_or(bin as f64, |spec| spec.bin_centre(bin))
    }

    fn points(&self, row: &[f32]) -> Vec<(f64, f64)> {
        row.iter()
            .enumerate()
            .map(|(bin, value)| (self.place(bin), f64::from(*value)))
            .collect()
    }

    fn page(&self, title: &str, plot: &Plot, below: &Markup) -> String {
        let manifest = self.bundle.manifest();
        let body = html! {
            h1 { (title) }
            p.sub {
                "Class " (manifest.class) ", " (manifest.network_name()) ", " (manifest.bins) " bins, latent " (manifest.latent) ", bundle "
                code { (self.bundle.digest()) }
            }
            p { (self.note) }
            (plot.draw())
            p.sub { "Decoded spectra are what the network thinks likely, not measurements. Amplitudes below a tenth of s0 are drawn there." }
            (below)
        };
        page(title, &body)
    }
}
