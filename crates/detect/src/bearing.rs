//! Where a bearing's faults show: kinematics of rolling-element bearings.
//!
//! A defect is struck once per passing element, so its frequency follows from geometry and shaft rate
//! alone (inner ring turning, outer ring still, no slip). Real bearings slip: measured lines lie one
//! or two per cent off.

use serde::{Deserialize, Serialize};

/// Why a geometry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BearingError {
    /// Name of the field.
    pub field: &'static str,
    /// What is asked of it.
    pub reason: &'static str,
}

/// Geometry of a rolling-element bearing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Bearing {
    rolling_elements: u16,
    ball_diameter_mm: f64,
    pitch_diameter_mm: f64,
    contact_angle_deg: f64,
}

#[derive(Deserialize)]
struct Stored {
    rolling_elements: u16,
    ball_diameter_mm: f64,
    pitch_diameter_mm: f64,
    contact_angle_deg: f64,
}

impl TryFrom<Stored> for Bearing {
    type Error = BearingError;

    fn try_from(stored: Stored) -> Result<Self, BearingError> {
        let Stored {
            rolling_elements,
            ball_diameter_mm,
            pitch_diameter_mm,
            contact_angle_deg,
        } = stored;
        Self::new(rolling_elements, ball_diameter_mm, pitch_diameter_mm, contact_angle_deg)
    }
}

/// Fault rates of a bearing at one shaft rate. In orders (multiples of the shaft rate) when that rate
/// is 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BearingRates {
    /// Shaft rate.
    pub shaft_hz: f64,
    /// Fundamental train frequency: turns of the cage.
    pub ftf_hz: f64,
    /// Ball pass frequency, outer race.
    pub bpfo_hz: f64,
    /// Ball pass frequency, inner race.
    pub bpfi_hz: f64,
    /// Ball spin frequency: turns of an element. A defect on it strikes both races, twice a turn.
    pub bsf_hz: f64,
}

impl Bearing {
    /// A geometry of at least 2 elements, diameters in millimetres, the ball smaller than the pitch
    /// circle, and a contact angle in degrees from 0 up to but not including 90.
    pub fn new(
        rolling_elements: u16,
        ball_diameter_mm: f64,
        pitch_diameter_mm: f64,
        contact_angle_deg: f64,
    ) -> Result<Self, BearingError> {
        let demand = |holds: bool, field, reason| {
            if holds {
                Ok(())
            } else {
                Err(BearingError { field, reason })
            }
        };
        demand(rolling_elements >= 2, "rolling_elements", "must be at least 2")?;
        let pitch_holds = pitch_diameter_mm.is_finite() && pitch_diameter_mm > 0.0;
        demand(pitch_holds, "pitch_diameter_mm", "must be finite and above zero")?;
        let ball_holds = ball_diameter_mm > 0.0 && ball_diameter_mm < pitch_diameter_mm;
        demand(
            ball_holds,
            "ball_diameter_mm",
            "must be above zero and below the pitch diameter",
        )?;
        demand(
            (0.0..90.0).contains(&contact_angle_deg),
            "contact_angle_deg",
            "must be 0 to below 90",
        )?;
        Ok(Self {
            rolling_elements,
            ball_diameter_mm,
            pitch_diameter_mm,
            contact_angle_deg,
        })
    }

    /// Rates at a shaft rate in Hz (revolutions per second).
    pub fn rates(&self, shaft_hz: f64) -> BearingRates {
        let elements = f64::from(self.rolling_elements);
        let ratio = self.ball_diameter_mm / self.pitch_diameter_mm;
        let tilted = ratio * self.contact_angle_deg.to_radians().cos();
        BearingRates {
            shaft_hz,
            ftf_hz: shaft_hz / 2.0 * (1.0 - tilted),
            bpfo_hz: shaft_hz * elements / 2.0 * (1.0 - tilted),
            bpfi_hz: shaft_hz * elements / 2.0 * (1.0 + tilted),
            bsf_hz: shaft_hz / (2.0 * ratio) * (1.0 - tilted * tilted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_skf_6205_has_the_rates_its_maker_publishes() {
        // Orders given for the drive-end bearing of the Case Western Reserve rig.
        let rates = Bearing::new(9, 7.940, 39.040, 0.0).expect("bearing").rates(1.0);
        assert!((rates.bpfi_hz - 5.4152).abs() < 1e-3);
        assert!((rates.bpfo_hz - 3.5848).abs() < 1e-3);
        assert!((rates.ftf_hz - 0.39828).abs() < 1e-4);
        assert!((2.0 * rates.bsf_hz - 4.7135).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn both_races_together_see_every_element_once_a_turn(
            elements in 2_u16..40, share in 0.01_f64..0.9, angle in 0.0_f64..89.0, rpm in 1.0_f64..20_000.0,
        ) {
            let bearing = Bearing::new(elements, share * 50.0, 50.0, angle).expect("bearing");
            let rates = bearing.rates(rpm / 60.0);
            let passes = f64::from(elements) * rates.shaft_hz;
            prop_assert!((rates.bpfo_hz + rates.bpfi_hz - passes).abs() < 1e-9 * passes);
            prop_assert!((rates.bpfo_hz - f64::from(elements) * rates.ftf_hz).abs() < 1e-9 * passes);
            prop_assert!(rates.bpfo_hz < rates.bpfi_hz && rates.bsf_hz > 0.0);
        }
    }

    #[test]
    fn an_impossible_geometry_is_refused_by_name() {
        let field = |bearing: Result<Bearing, BearingError>| bearing.expect_err("refused").field;
        assert_eq!(field(Bearing::new(1, 5.0, 40.0, 0.0)), "rolling_elements");
        assert_eq!(field(Bearing::new(9, 50.0, 40.0, 0.0)), "ball_diameter_mm");
        assert_eq!(field(Bearing::new(9, 5.0, f64::NAN, 0.0)), "pitch_diameter_mm");
        assert_eq!(field(Bearing::new(9, 5.0, 40.0, 90.0)), "contact_angle_deg");
        let stored =
            r#"{"rolling_elements":9,"ball_diameter_mm":0.0,"pitch_diameter_mm":40.0,"contact_angle_deg":0.0}"#;
        assert!(serde_json::from_str::<Bearing>(stored).is_err());
    }
}
