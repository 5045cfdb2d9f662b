//! Lines of a spectrum: where a tone of a given frequency and amplitude is measured.

use tocsin_domain::SpectrumSpec;

/// How a tone shows in a bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tones {
    /// What a tone's amplitude is multiplied with. In the mean of many lines of a transform a tone is diluted by their
    /// number, which is smaller the narrower the bins are.
    pub(crate) gain: f64,
    /// Share of its frequency over which a tone is smeared to either side, by speed that wanders during a reading and
    /// bearings that slip.
    pub(crate) smear: f64,
    /// The same of a tone that is locked to the shaft, which does not slip.
    pub(crate) locked_smear: f64,
}

impl Tones {
    /// As in the bins that amplitudes were stated for, at a speed that is held.
    pub(crate) const STEADY: Self = Self {
        gain: 1.0,
        smear: 0.0,
        locked_smear: 0.0,
    };
}

/// A spectrum of powers under construction, before the path to the sensor.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    /// Powers in g² peak, one per bin.
    pub(crate) power: &'a mut [f32],
    pub(crate) spec: &'a SpectrumSpec,
    /// How much the structure rings in each bin, 0 to 1.
    pub(crate) resonance: &'a [f32],
    pub(crate) tones: Tones,
    /// The axis's unit in Hz: 1, or the shaft rate for a spectrum over orders.
    pub(crate) unit_hz: f64,
}

impl Lines<'_> {
    /// Adds a line of an amplitude in g. Speed wanders during a reading, so a line's power is shared between the two
    /// bins whose centres enclose it, or among more when [`Tones::smear`] asks for it. A line outside the spec's range
    /// is not measured.
    pub(crate) fn add(&mut self, hz: f64, amplitude_g: f64) {
        self.add_smeared(hz, amplitude_g, self.tones.smear);
    }

    /// The same of a line that is locked to the shaft.
    pub(crate) fn add_locked(&mut self, hz: f64, amplitude_g: f64) {
        self.add_smeared(hz, amplitude_g, self.tones.locked_smear);
    }

    fn add_smeared(&mut self, hz: f64, amplitude_g: f64, smear: f64) {
        let amplitude_g = amplitude_g * self.tones.gain;
        let power = amplitude_g * amplitude_g;
        let half = hz * smear;
        let parts = (2.0 * half / (self.width() * self.unit_hz)).ceil().max(1.0);
        for part in 0..parts as u32 {
            let along = (2.0 * f64::from(part) + 1.0) / parts;
            self.add_power(hz - half + half * along, power / parts);
        }
    }

    fn add_power(&mut self, hz: f64, power: f64) {
        let Some((bin, into_next)) = self.place(hz) else { return };
        self.power[bin] += (power * (1.0 - into_next)) as f32;
        if let Some(next) = self.power.get_mut(bin + 1) {
            *next += (power * into_next) as f32;
        }
    }

    /// How much the structure rings at a frequency, 0 to 1.
    pub(crate) fn resonance_at(&self, hz: f64) -> f64 {
        self.place(hz).map_or(0.0, |(bin, _)| f64::from(self.resonance[bin]))
    }

    /// The bin whose centre is at or below a frequency, and the share that belongs to the next one.
    fn place(&self, hz: f64) -> Option<(usize, f64)> {
        let at = hz / self.unit_hz;
        if !(self.spec.f_min..self.spec.f_max).contains(&at) {
            return None;
        }
        let position = ((at - self.spec.f_min) / self.width() - 0.5).clamp(0.0, (self.power.len() - 1) as f64);
        Some((position as usize, position.fract()))
    }

    /// Width of a bin, in the axis's unit.
    fn width(&self) -> f64 {
        (self.spec.f_max - self.spec.f_min) / self.power.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<const N: usize>(tones: Tones, tones_g: &[(f64, f64)]) -> [f32; N] {
        let mut power = [0.0; N];
        let mut lines = Lines {
            power: &mut power,
            spec: &SpectrumSpec::corpus_default(N as u16),
            resonance: &[0.0; N],
            tones,
            unit_hz: 1.0,
        };
        for (hz, amplitude_g) in tones_g {
            lines.add(*hz, *amplitude_g);
        }
        power
    }

    #[test]
    fn a_line_is_shared_between_the_bins_about_it_and_keeps_its_power() {
        let tones = [(550.0, 2.0), (20.0, 1.0), (12_790.0, 1.0), (12_800.0, 9.0), (-1.0, 9.0)];
        let power = place::<64>(Tones::STEADY, &tones);
        assert!((power[2] - 3.0).abs() < 1e-6 && (power[3] - 1.0).abs() < 1e-6);
        assert!((power[0] - 1.0).abs() < 1e-6 && (power[63] - 1.0).abs() < 1e-6);
        assert!((power.iter().sum::<f32>() - 6.0).abs() < 1e-5);
    }

    #[test]
    fn a_smeared_line_spreads_over_its_share_of_frequency_and_keeps_its_power() {
        let tones = Tones {
            gain: 2.0,
            smear: 0.01,
            locked_smear: 0.01,
        };
        let power = place::<1024>(tones, &[(5_000.0, 1.0)]);
        assert!((power.iter().sum::<f32>() - 4.0).abs() < 1e-4);
        // 5 kHz ± 50 Hz in bins of 12.5 Hz: 396 to 404, and what the edges share with their neighbours.
        assert!(
            power[396..404].iter().all(|power| *power > 0.3),
            "{:?}",
            &power[390..410]
        );
        assert!(power[..395].iter().chain(&power[405..]).all(|power| *power == 0.0));
    }
}
