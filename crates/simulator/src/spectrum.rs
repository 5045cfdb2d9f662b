//! One sensor's reading of the spindles: what is heard, with the noise of averaging.

use tocsin_domain::Timestamp;

use crate::Schedule;
use crate::construction::SPINDLE;
use crate::draws::Draws;
use crate::fleet::Fleet;
use crate::lines::Tones;
use crate::program::OperatingPoint;
use crate::scatter::Scatter;
use crate::scene::{FLOOR_G, Scene};

/// One simulated reading.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedReading {
    /// Amplitudes in g peak, one per bin of the spec.
    pub bins: Vec<f32>,
    /// What the machine was doing.
    pub point: OperatingPoint,
}

impl Fleet {
    /// What sensor `sensor` measures at `at`.
    ///
    /// # Panics
    /// If there is no such sensor.
    pub fn reading(&self, schedule: &Schedule, sensor: usize, at: Timestamp) -> SimulatedReading {
        let mut bins = vec![0.0; usize::from(self.config().spec.bins)];
        let point = self.reading_into(schedule, sensor, at, &mut bins);
        SimulatedReading { bins, point }
    }

    /// As [`Fleet::reading`], into a slice of as many bins as the spec has.
    ///
    /// # Panics
    /// If there is no such sensor, or the slice is of another length.
    pub fn reading_into(&self, schedule: &Schedule, sensor: usize, at: Timestamp, bins: &mut [f32]) -> OperatingPoint {
        let config = self.config();
        assert_eq!(
            bins.len(),
            usize::from(config.spec.bins),
            "bins of the slice against bins of the spec"
        );
        let index = sensor;
        let sensor = &self.sensors()[index];
        let machine = &self.machines()[sensor.machine];
        let channel = &sensor.channel;
        let point = self.operating_point(sensor.machine, at);
        let mut noise = Draws::new(config.seed, &[5, index as u64, at.as_micros() as u64]);
        let scatter = Scatter::of(f32::from(config.spec.averages));
        let response = channel.response(&config.spec, point.shaft_hz());
        if point.is_stopped() {
            // Neighbours shake the hall: a twentieth of the machine's own noise.
            let ambient = response.broadband.iter().map(|broadband| (0.05 * broadband).powi(2));
            for (bin, power) in bins.iter_mut().zip(ambient) {
                *bin = (power + FLOOR_G * FLOOR_G).sqrt() * scatter.factor(noise.bell());
            }
            return point;
        }
        let scene = Scene {
            spec: &config.spec,
            construction: &SPINDLE,
            strengths: machine.strengths,
            bearing: &machine.bearing,
            response: &response,
            coupling: channel.coupling,
            tones: Tones::STEADY,
            point,
            // Forces follow the speed, which a spindle's program moves by 5 % only.
            force: 1.0,
            warmth: machine.climate.at(at, config) as f32,
        };
        let faults = schedule.active(&machine.site, &machine.name, at);
        scene.paint(faults, 0.0, bins, |_, heard| {
            heard.power().sqrt() * scatter.factor(noise.bell())
        });
        point
    }
}

#[cfg(test)]
mod tests;
