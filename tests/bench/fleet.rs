//! A fleet that sends healthy spectra, and a model trained on them.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tocsin::rollout;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{CreateTokenRequest, Token};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateClassRequest, CreateSiteRequest, CreateSpecRequest, MachineClass, Site, Spec};
use tocsin_contracts::ingest::v1::Reading;
use tocsin_contracts::time;
use tocsin_domain::{Scores, SpectrumSpec, Timestamp};
use tocsin_models::{Bundle, BundleArchive, Variant};
use tocsin_tests::Plant;
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};
use tocsin_transport::{Channel, auth};

use crate::platform::Platform;

/// The class of every machine.
pub(crate) const CLASS: &str = "machine";
/// The first site.
pub(crate) const SITE: &str = "site-0";
/// Spectra to draw from.
const POOL: usize = 4_096;

/// How large a fleet is, and what judges it.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Size {
    /// Sites, each with a gateway.
    #[arg(long, default_value_t = 4)]
    pub(crate) sites: usize,
    /// Machines of a site.
    #[arg(long, default_value_t = 150)]
    pub(crate) machines: usize,
    /// Sensors of a machine.
    #[arg(long, default_value_t = 4)]
    pub(crate) sensors: usize,
    /// Bins of a spectrum.
    #[arg(long, default_value_t = 64)]
    pub(crate) bins: u16,
    /// The autoencoder.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) model: Model,
    /// What the class decides by, milliseconds.
    #[arg(skip = 10_000_u32)]
    pub(crate) step_ms: u32,
}

/// Kinds of autoencoder.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Model {
    /// Fully connected.
    #[default]
    Dense,
    /// Convolutional.
    Conv,
}

/// A declared fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    size: Size,
    spectra: Vec<Vec<f32>>,
    /// The model.
    pub(crate) archive: BundleArchive,
    /// One channel for each site, with its gateway's token.
    pub(crate) gateways: Vec<Channel>,
}

impl Fleet {
    /// Declares sites, class and spec, registers a model, and makes the gateways' tokens.
    pub(crate) async fn declare(platform: &Platform, size: Size) -> Result<Self> {
        let operator = platform.operator()?;
        let spectra: Vec<Vec<f32>> = (0..POOL as u64).map(|n| Plant::healthy_bins(size.bins, n)).collect();
        declare_kinds(&operator, size).await?;
        let mut gateways = Vec::new();
        for site in 0..size.sites {
            let token = declare_site(&operator, &format!("site-{site}"), size.machines * size.sensors).await?;
            gateways.push(platform.target().anonymous()?.with_token(&token));
        }
        let archive = bundle(size)?;
        rollout::register(&operator, CLASS, &archive).await?;
        Ok(Self {
            size,
            spectra,
            archive,
            gateways,
        })
    }

    /// What the model says of healthy readings that it was not trained on.
    pub(crate) fn held_out(&self) -> Result<Vec<Scores>> {
        let bundle = Bundle::from_archive(self.archive.clone())?;
        Ok(bundle.held_out().rows.iter().map(|row| row.scores).collect())
    }

    /// What some machines of any site report at step `number`, `at` being its time.
    pub(crate) fn readings(&self, machines: std::ops::Range<usize>, number: u64, at: Timestamp) -> Vec<Reading> {
        let captured_at = Some(time::to_wire(at));
        let mut readings = Vec::with_capacity(machines.len() * self.size.sensors);
        for machine in machines {
            for sensor in 0..self.size.sensors {
                let place = (machine * self.size.sensors + sensor) as u64 * 31 + number * 7;
                readings.push(Reading {
                    sensor: format!("m{machine}/s{sensor}"),
                    captured_at,
                    bins: self.spectra[place as usize % POOL].clone(),
                    ..Reading::default()
                });
            }
        }
        readings
    }

    /// Machines of a site, in parts of at most so many readings.
    pub(crate) fn parts(&self, readings: usize) -> Vec<std::ops::Range<usize>> {
        let step = (readings / self.size.sensors).max(1);
        let all = self.size.machines;
        (0..all)
            .step_by(step)
            .map(|start| start..all.min(start + step))
            .collect()
    }
}

async fn declare_kinds(operator: &Channel, size: Size) -> Result<()> {
    let mut fleet = FleetServiceClient::new(operator.clone());
    let class = MachineClass {
        name: CLASS.to_owned(),
        step_ms: u64::from(size.step_ms),
        ..MachineClass::default()
    };
    fleet.create_class(CreateClassRequest { class: Some(class) }).await?;
    let definition_json = serde_json::to_string(&SpectrumSpec::corpus_default(size.bins)).context("the spec")?;
    let spec = Spec {
        name: CLASS.to_owned(),
        definition_json,
    };
    fleet.create_spec(CreateSpecRequest { spec: Some(spec) }).await?;
    Ok(())
}

async fn declare_site(operator: &Channel, name: &str, sensors: usize) -> Result<auth::Token> {
    let site = Site {
        name: name.to_owned(),
        title: name.to_owned(),
        time_zone: "UTC".to_owned(),
        auto_register_cap: sensors as u32,
        ..Site::default()
    };
    let mut fleet = FleetServiceClient::new(operator.clone());
    fleet.create_site(CreateSiteRequest { site: Some(site) }).await?;
    let token = Token {
        site: name.to_owned(),
        name: "gateway".to_owned(),
        may_replay: true,
        auto_register_class: CLASS.to_owned(),
        auto_register_spec: CLASS.to_owned(),
        ..Token::default()
    };
    let mut access = AccessServiceClient::new(operator.clone());
    let made = access.create_token(CreateTokenRequest { token: Some(token) }).await?;
    auth::Token::parse(&made.into_inner().secret).context("the secret")
}

/// Trained for seconds, not for accuracy; the alarm limits hold for these spectra all the same.
fn bundle(size: Size) -> Result<BundleArchive> {
    let spec = SpectrumSpec::corpus_default(size.bins);
    let rows = |range: std::ops::Range<u64>| {
        let mut set = TrainingSet::new(&spec);
        for number in range {
            let at = Plant::start() + Duration::from_secs(number);
            set.push("site-0/m0/s0", at, &Plant::healthy_bins(size.bins, number))?;
        }
        anyhow::Ok(set)
    };
    let (variant, epochs) = match size.model {
        Model::Dense => (Variant::Dense, 20),
        Model::Conv => (Variant::Conv, 3),
    };
    let options = FitOptions {
        epochs,
        ..FitOptions::of(variant)
    };
    let request = TrainRequest {
        class: CLASS.parse()?,
        train: &rows(0..1_000)?,
        calibration: &rows(1_000..4_000)?,
        variant,
        foreign: None,
        latent: None,
        seed: 1,
        options: Some(options),
        corpora: Vec::new(),
        created_at: Plant::start(),
    };
    Ok(train(&request, |_| ())?)
}
