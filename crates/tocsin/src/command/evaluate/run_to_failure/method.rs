//! Where limits may come from, and how the textbook's network is trained.

use anyhow::Result;
use clap::{Args, ValueEnum};
use tocsin_domain::{Clock, Slug, SpectrumSpec};
use tocsin_evaluate::{LineSource, Rules, Stretch, TrainingError, Variation};
use tocsin_judge::Persistence;
use tocsin_models::{Bundle, Variant};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

/// Where limits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodArg {
    /// Against each sensor's baseline: multiples of what the other machines reached by the persistence rules
    FleetReplay,
    /// Against each sensor's baseline: the 99.5th and 99.95th percentile of the other machines' scores
    Percentile,
    /// The same percentiles of a distribution fitted to those scores
    Tail,
    /// One autoencoder and one energy z-score for all, at those percentiles of their scores; every reading decides alone
    Textbook,
    /// The same where three readings of five decide
    #[value(name = "textbook-3-of-5")]
    Textbook3Of5,
}

impl MethodArg {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FleetReplay => "fleet-replay",
            Self::Percentile => "percentile",
            Self::Tail => "tail",
            Self::Textbook => "textbook",
            Self::Textbook3Of5 => "textbook-3-of-5",
        }
    }

    /// How lines against baselines follow; nothing for the textbook, which knows none.
    pub(super) fn lines(self) -> Option<Variation> {
        let lines = match self {
            Self::FleetReplay => LineSource::FleetReplay,
            Self::Percentile => LineSource::Percentile,
            Self::Tail => LineSource::Tail,
            Self::Textbook | Self::Textbook3Of5 => return None,
        };
        Some(Variation {
            lines,
            ..Variation::default()
        })
    }

    /// The constants, with the persistence of the textbook where that judges. It clears as all do.
    pub(super) fn rules(self, rules: Rules) -> Rules {
        let (k, n) = match self {
            Self::FleetReplay | Self::Percentile | Self::Tail => return rules,
            Self::Textbook => (1, 1),
            Self::Textbook3Of5 => (3, 5),
        };
        Rules {
            persistence: Persistence {
                k,
                n,
                ..rules.persistence
            },
            ..rules
        }
    }
}

/// How the textbook's network is trained.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Training {
    /// Most epochs of the textbook's network, which is dense
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Seed of the textbook's network and of the draws of a class
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

impl Training {
    /// Trains on healthy stretches of one specification.
    pub(super) fn with(self, spec: &SpectrumSpec) -> impl Fn(&[Stretch<'_>]) -> Result<Bundle, TrainingError> + Sync {
        let spec = spec.clone();
        move |stretches| Ok(self.bundle(&spec, stretches)?)
    }

    fn bundle(self, spec: &SpectrumSpec, stretches: &[Stretch<'_>]) -> Result<Bundle> {
        let mut rows = TrainingSet::new(spec);
        let factor = spec.canonical_factor();
        for stretch in stretches {
            for (at, row) in stretch
                .captured_at
                .iter()
                .zip(stretch.linear.chunks_exact(stretch.bins))
            {
                let sent: Vec<f32> = row
                    .iter()
                    .map(|amplitude| (f64::from(*amplitude) / factor) as f32)
                    .collect();
                rows.push(&stretch.sensor, *at, &sent)?;
            }
        }
        let options = FitOptions::of(Variant::Dense);
        let request = TrainRequest {
            class: Slug::parse("class", "evaluation")?,
            train: &rows,
            calibration: &TrainingSet::new(spec),
            variant: Variant::Dense,
            foreign: None,
            latent: None,
            seed: self.seed,
            options: Some(FitOptions {
                epochs: self.epochs,
                patience: options.patience.min(self.epochs.div_ceil(4)),
                ..options
            }),
            corpora: Vec::new(),
            created_at: Clock::system().now(),
        };
        Ok(Bundle::from_archive(train(&request, |_| {})?)?)
    }
}
