//! One machine: what makes it its own, and what will befall it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tocsin_detect::Bearing;
use tocsin_domain::spec::Axis;
use tocsin_domain::{Invalid, Slug, SpectrumSpec};

use super::{Benign, Class, Config, Failure, Ramp, Stream, purpose};
use crate::FaultKind;
use crate::channel::{Channel, Response, Strengths};
use crate::draws::Draws;
use crate::lines::Tones;
use crate::program::{Cycle, Dwell, OperatingPoint, Operation};
use crate::scene::Scene;

/// Stretches of a duty before it repeats.
const STRETCHES: usize = 24;
/// Share of its frequency a line is smeared to either side: bearings slip by 1 to 2 % (Randall & Antoni, 2011), and speed
/// wanders during a reading. A record that was sampled anew along the shaft's turns knows no speed, and what is locked to the
/// shaft stands still in it.
const SMEAR: f64 = 0.01;
/// Usual load, at which sizes are stated.
const USUAL_LOAD: f32 = 0.6;

/// A machine of a [`super::Fleet`].
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) config: Arc<Config>,
    spec: Arc<SpectrumSpec>,
    index: usize,
    name: Slug,
    class: Class,
    bearing: Bearing,
    nominal_rpm: f64,
    strengths: Strengths,
    pub(super) cycle: Cycle,
    pub(super) channels: Vec<Channel>,
    failure: Option<Failure>,
    ramp: Option<Ramp>,
}

impl Machine {
    /// Its place in the fleet.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name, unique in the fleet.
    pub fn name(&self) -> &Slug {
        &self.name
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Its bearing.
    pub fn bearing(&self) -> &Bearing {
        &self.bearing
    }

    /// The failure it is heading for; at most one of this and a ramp.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The deviation injected into it.
    pub fn ramp(&self) -> Option<&Ramp> {
        self.ramp.as_ref()
    }

    /// All its readings, from the first step to the last.
    pub fn stream(&self) -> Stream<'_> {
        self.stream_steps(0..self.config.steps())
    }

    /// Its readings of some steps, the first of the fleet's being 0: the same bits as in the whole stream. Steps beyond
    /// the fleet's length go on as if it were longer.
    pub fn stream_steps(&self, steps: Range<u64>) -> Stream<'_> {
        Stream::new(self, steps)
    }

    pub(super) fn draw(index: usize, config: Arc<Config>, spec: Arc<SpectrumSpec>) -> Result<Self, Invalid> {
        let class = Class::ALL[index % Class::ALL.len()];
        let mut draws = Draws::new(config.seed, &[purpose::MACHINE, index as u64]);
        // Deep-groove ball bearings, whose balls fill about a fifth of the pitch circle.
        let bearing = Bearing::new(7 + draws.below(4) as u16, 39.0 * draws.between(0.18, 0.26), 39.0, 0.0)
            .map_err(|error| Invalid::new(format!("bearing.{}", error.field), error.reason))?;
        let individuality = config.individuality;
        let gain = 10f64.powf(2.0 * individuality * f64::from(draws.bell()) / 20.0);
        let strengths = Strengths {
            shaft: gain * draws.near_one(0.25 * individuality),
            passing: gain * draws.near_one(0.15 * individuality),
            broadband: gain * draws.near_one(0.15 * individuality),
        };
        let construction = class.construction();
        let nominal_rpm = construction.rated_rpm * draws.near_one(0.06 * individuality);
        let cycle = Cycle::new((0..STRETCHES).map(|_| stretch(&config, &mut draws)).collect());
        let channels = (0..config.sensors)
            .map(|sensor| {
                let mut draws = Draws::new(config.seed, &[purpose::CHANNEL, index as u64, sensor as u64]);
                Channel::draw(construction, &strengths, &spec, individuality, &mut draws)
            })
            .collect();
        Ok(Self {
            index,
            name: Slug::parse("machines", &format!("{}-{:04}", class.name(), index + 1))?,
            class,
            bearing,
            nominal_rpm,
            strengths,
            cycle,
            channels,
            failure: None,
            ramp: None,
            config,
            spec,
        })
    }

    /// Speed and load in a stretch of the duty, so long after the start.
    pub(super) fn operating_point(&self, dwell: Dwell, since: Duration) -> OperatingPoint {
        let mut draws = Draws::new(
            self.config.seed,
            &[purpose::DUTY, self.index as u64, dwell.number as u64],
        );
        // No stretch is quite what it was the last time round.
        let speed = dwell.operation.speed * (1.0 + 0.003 * f64::from(draws.bell()));
        let added: f64 = self.config.benign.iter().map(|benign| benign.load(self, since)).sum();
        let load = dwell.operation.load + 0.03 * f64::from(draws.bell()) + added;
        OperatingPoint {
            rpm: (self.nominal_rpm * speed) as f32,
            load: load.clamp(0.05, 1.2) as f32,
        }
    }

    /// Gain of all benign changes in dB, so long after the start.
    pub(super) fn benign_db(&self, since: Duration) -> f64 {
        self.config
            .benign
            .iter()
            .map(|benign: &Benign| benign.gain_db(self, since))
            .sum()
    }

    /// What the structure does to each bin of one of its sensors at an operating point.
    pub(super) fn response(&self, channel: usize, point: OperatingPoint) -> Cow<'_, Response> {
        self.channels[channel].response(&self.spec, point.shaft_hz())
    }

    /// The machine at an operating point before one of its sensors, with the structure's response there.
    pub(super) fn scene<'a>(&'a self, channel: usize, point: OperatingPoint, response: &'a Response) -> Scene<'a> {
        Scene {
            spec: &self.spec,
            construction: self.class.construction(),
            strengths: self.strengths,
            bearing: &self.bearing,
            response,
            coupling: self.channels[channel].coupling,
            tones: Tones {
                gain: self.config.tone_gain(),
                smear: SMEAR,
                locked_smear: match self.spec.axis {
                    Axis::Hertz => SMEAR,
                    Axis::Orders => 0.0,
                },
            },
            point,
            force: (f64::from(point.rpm) / self.nominal_rpm).powi(2),
            warmth: 0.0,
        }
    }

    /// Powers the first sensor hears at nominal speed and usual load with a fault of a severity, one per bin.
    pub(super) fn nominal_powers(&self, kind: FaultKind, severity: f64) -> Vec<f64> {
        let point = OperatingPoint {
            rpm: self.nominal_rpm as f32,
            load: USUAL_LOAD,
        };
        let mut powers = vec![0.0; usize::from(self.spec.bins)];
        let fault = std::iter::once((kind, severity));
        let response = self.response(0, point);
        self.scene(0, point, &response)
            .paint(fault, 0.0, &mut powers, |_, heard| heard.power());
        powers.into_iter().map(f64::from).collect()
    }
}

/// Draws a stretch of the duty. Lengths spread evenly in their logarithm: short ones are as usual as long ones.
fn stretch(config: &Config, draws: &mut Draws) -> Operation {
    let duty = &config.duty;
    let [shortest, longest] = duty.dwell.map(|length| length.as_secs_f64().ln());
    Operation {
        duration_s: draws.between(shortest, longest).exp().round(),
        speed: draws.near_one(duty.speed_swing),
        load: draws.between(duty.load[0], duty.load[1]),
    }
}

/// Draws which machines fail, and which get a ramp. The first of a shuffled fleet fail and the last get ramps, so that
/// the number of the ones does not move the others.
pub(super) fn draw_fates(machines: &mut [Machine], config: &Config) {
    let mut draws = Draws::new(config.seed, &[purpose::FATES]);
    let mut places: Vec<usize> = (0..machines.len()).collect();
    draws.shuffle(&mut places);
    let mut kinds = config.failures.kinds.clone();
    draws.shuffle(&mut kinds);
    let own = |place: usize| Draws::new(config.seed, &[purpose::FATES, place as u64]);
    for (&place, &kind) in places[..config.failures.count].iter().zip(kinds.iter().cycle()) {
        let failure = Failure::draw(config, &machines[place], kind, &mut own(place));
        machines[place].failure = Some(failure);
    }
    for &place in places.iter().rev().take(config.ramps.count) {
        machines[place].ramp = Some(Ramp::draw(config, &mut own(place)));
    }
}
