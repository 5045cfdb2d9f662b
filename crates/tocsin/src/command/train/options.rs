//! What is asked of a training, looked at before a corpus is read.

use anyhow::{Result, bail};
use tocsin_corpus::By;
use tocsin_domain::Invalid;
use tocsin_evaluate::Parts;

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
    /// Refuses flags that go together for no training.
    pub(super) fn check_flags(&self) -> Result<()> {
        if !self.sweep_latent.is_empty() && self.choice.by() == Some(By::Machine) {
            bail!(
                "--sweep-latent: holds a third of the machines out itself; with --split-by machine those that learn and set limits would \
                 be tested, and those that test would be among the others: leave out --split-by, or part by time"
            );
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
}
