//! What is asked of a training, looked at before a corpus is read.

use anyhow::{Result, anyhow, bail};
use tocsin_corpus::By;
use tocsin_domain::Invalid;
use tocsin_evaluate::Parts;
use tocsin_models::Variant;
use tocsin_trainer::{TrainError, check_settings};

use super::Train;

/// A split to learn from: any but those that set limits or test, which nothing may be learned from.
pub(super) fn learned(split: &str) -> Result<String, Invalid> {
    match Parts::purpose(split) {
        None => Ok(split.to_owned()),
        Some(purpose) => Err(Invalid::new(
            "split",
            format!("rows of {split} {purpose}: what teaches must not set limits or test"),
        )),
    }
}

impl Train {
    /// Refuses what no training can be done with, before the rows are read; the error names the flag.
    pub(super) fn check(&self) -> Result<()> {
        self.check_flags()?;
        let used = [self.split.as_str(), "cal"];
        if let Some(bins) = self.corpora.first_bins(self.choice.splits(&used))? {
            self.check_settings(self.corpora.spec_of(bins)?.bins)?;
        }
        Ok(())
    }

    /// Refuses flags that do not go together.
    fn check_flags(&self) -> Result<()> {
        let variant = Variant::from(self.variant);
        if !self.sweep_latent.is_empty() && self.choice.by() == Some(By::Machine) {
            bail!(
                "--sweep-latent: holds a third of the machines out itself; with --split-by machine those that learn and set limits would \
                 be tested, and those that test would be among the others: leave out --split-by, or part by time"
            );
        }
        if self.trim > 0.0 && variant == Variant::Foreign {
            bail!(
                "--trim: a model that was trained elsewhere (--variant foreign) learned without these rows: none can be left out"
            );
        }
        if self.window.is_some() && !variant.is_temporal() {
            bail!("--window: belongs to a temporal variant; --variant {variant} looks at one spectrum");
        }
        if !variant.is_network() {
            let how = if variant == Variant::Foreign {
                "was trained elsewhere"
            } else {
                "is computed"
            };
            for (flag, given) in [
                ("--objective", self.objective.is_some()),
                ("--checkpoint", self.checkpoint.is_some()),
            ] {
                if given {
                    bail!("{flag}: belongs to a network that is trained; --variant {variant} {how}");
                }
            }
        }
        Ok(())
    }

    /// Refuses settings that spectra of so many bins are not trained with.
    fn check_settings(&self, bins: u16) -> Result<()> {
        let sizes: Vec<Option<u16>> = match self.sweep_latent.as_slice() {
            [] => vec![self.latent],
            sizes => sizes.iter().copied().map(Some).collect(),
        };
        for latent in sizes {
            let checked = check_settings(self.variant.into(), self.options(), latent, bins);
            checked.map_err(|error| match error {
                TrainError::Request {
                    field: "latent",
                    reason,
                } if !self.sweep_latent.is_empty() => {
                    anyhow!("--sweep-latent: {reason}")
                }
                TrainError::Request { field, reason } => anyhow!("--{field}: {reason}"),
                other => other.into(),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        train: Train,
    }

    fn train(more: &[&str]) -> Train {
        let words = ["train", "--class", "pump", "--corpus", "c"];
        Line::parse_from([&words[..], more].concat()).train
    }

    #[test]
    fn a_sweep_parts_no_machines_that_are_parted_already() {
        let told = |by| train(&["--sweep-latent", "4,8", "--split-by", by]).check_flags();
        let refused = told("machine").unwrap_err().to_string();
        assert!(
            refused.starts_with("--sweep-latent: ") && refused.contains("--split-by machine"),
            "{refused}"
        );
        assert!(told("time").is_ok());
    }

    #[test]
    fn flags_that_would_be_ignored_are_refused_with_the_reason() {
        let told = |more: &[&str]| train(more).check_flags().map_err(|error| error.to_string());
        let out = ["--out", "b", "--variant"];
        let foreign = ["foreign", "--autoencoder", "a", "--decoder", "d"];
        for (kind, flag, how) in [
            (&["pca"][..], ["--objective", "sparse"], "pca is computed"),
            (&["mahalanobis"], ["--checkpoint", "k"], "mahalanobis is computed"),
            (&["conv"], ["--window", "4"], "conv looks at one spectrum"),
            (&foreign, ["--objective", "plain"], "foreign was trained elsewhere"),
            (&foreign, ["--checkpoint", "k"], "foreign was trained elsewhere"),
            (
                &foreign,
                ["--trim", "0.1"],
                "--trim: a model that was trained elsewhere",
            ),
        ] {
            let refused = told(&[&out[..], kind, &flag].concat()).unwrap_err();
            assert!(refused.starts_with(flag[0]) && refused.contains(how), "{refused}");
            assert_eq!(told(&[&out[..], kind].concat()), Ok(()));
        }
        assert_eq!(
            told(&[&out[..], &["dense", "--objective", "sparse", "--trim", "0.1"]].concat()),
            Ok(())
        );
    }

    #[test]
    fn settings_are_refused_by_their_flag_as_soon_as_the_bins_are_known() {
        let told = |more: &[&str]| train(more).check_settings(64).unwrap_err().to_string();
        let copies = told(&["--out", "b", "--latent", "64", "--objective", "plain"]);
        assert!(
            copies.starts_with("--latent: 64 of 64 bins is no bottleneck"),
            "{copies}"
        );
        let most = told(&["--out", "b", "--trim", "0.7"]);
        assert_eq!(most, "--trim: 0.7 is not between 0 and below 0.5");
        let swept = told(&["--sweep-latent", "8,200"]);
        assert!(
            swept.starts_with("--sweep-latent: 200 is not between 1 and 128"),
            "{swept}"
        );
    }
}
