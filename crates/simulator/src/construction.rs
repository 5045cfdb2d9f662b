//! How a class of machine is built: what excites it, and where its structure rings.

/// Sources and resonances of one class, at its rated speed and full load, as heard in bins of 200 Hz.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Construction {
    /// Rated speed in revolutions per minute.
    pub(crate) rated_rpm: f64,
    /// Teeth, vanes or blades that pass in a revolution.
    pub(crate) passes: u16,
    /// Amplitudes in g of the shaft's harmonics, from the first.
    pub(crate) shaft_g: [f64; 6],
    /// Amplitudes in g of the passing rate's harmonics, from the first.
    pub(crate) passing_g: [f64; 5],
    /// Broadband noise in g a bin, at low frequency.
    pub(crate) broadband_g: f64,
    /// Where broadband noise has fallen to half, in Hz.
    pub(crate) broadband_corner_hz: f64,
    /// The structure's resonances: centre and half width in Hz.
    pub(crate) resonances_hz: [(f64, f64); 3],
}

/// A machining spindle behind a cutter of four teeth.
pub(crate) const SPINDLE: Construction = Construction {
    rated_rpm: 6_000.0,
    passes: 4,
    shaft_g: [0.12, 0.06, 0.04, 0.025, 0.018, 0.012],
    passing_g: [0.16, 0.1, 0.06, 0.035, 0.02],
    broadband_g: 0.022,
    broadband_corner_hz: 7_000.0,
    resonances_hz: [(2_300.0, 250.0), (5_200.0, 450.0), (9_400.0, 700.0)],
};

/// A centrifugal pump on a two-pole motor: vane pass and much flow noise.
pub(crate) const PUMP: Construction = Construction {
    rated_rpm: 2_950.0,
    passes: 6,
    shaft_g: [0.05, 0.03, 0.015, 0.01, 0.008, 0.005],
    passing_g: [0.08, 0.05, 0.03, 0.015, 0.01],
    broadband_g: 0.018,
    broadband_corner_hz: 6_000.0,
    resonances_hz: [(1_800.0, 200.0), (4_300.0, 350.0), (8_200.0, 600.0)],
};

/// A belt-driven fan on a four-pole motor: quiet at high frequency.
pub(crate) const FAN: Construction = Construction {
    rated_rpm: 1_480.0,
    passes: 12,
    shaft_g: [0.04, 0.02, 0.01, 0.006, 0.004, 0.003],
    passing_g: [0.05, 0.03, 0.018, 0.01, 0.006],
    broadband_g: 0.012,
    broadband_corner_hz: 4_000.0,
    resonances_hz: [(950.0, 120.0), (3_100.0, 300.0), (6_400.0, 500.0)],
};

/// A crane's hoist drive on a six-pole motor: the mesh of a pinion of 23 teeth stands out.
pub(crate) const HOIST: Construction = Construction {
    rated_rpm: 980.0,
    passes: 23,
    shaft_g: [0.03, 0.018, 0.01, 0.008, 0.006, 0.004],
    passing_g: [0.12, 0.08, 0.05, 0.03, 0.02],
    broadband_g: 0.014,
    broadband_corner_hz: 8_000.0,
    resonances_hz: [(1_400.0, 150.0), (3_600.0, 300.0), (10_200.0, 800.0)],
};
