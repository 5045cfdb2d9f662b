//! An axis: the range it shows, how it is divided, and its name.

/// Labels wanted on an axis.
const TICKS: f64 = 6.0;

/// An axis of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    name: String,
    low: f64,
    high: f64,
    kind: Kind,
}

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
    Blank,
}

impl Axis {
    /// From the least to the greatest of the finite ones of some values.
    pub fn over(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values.into_iter().filter(|value| value.is_finite())).unwrap_or((0.0, 1.0));
        let half = if high > low { 0.0 } else { 0.5 * low.abs().max(1.0) };
        Self {
            name: name.into(),
            low: low - half,
            high: high + half,
            kind: Kind::Linear,
        }
    }

    /// The same, logarithmic, over those above zero.
    pub fn log_over(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = range(positive).unwrap_or((0.1, 1.0));
        let factor = if high > low { 1.0 } else { 2.0 };
        Self {
            name: name.into(),
            low: low / factor,
            high: high * factor,
            kind: Kind::Log,
        }
    }

    /// One without labels, for what is only in order.
    pub fn blank(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            low: 0.0,
            high: 1.0,
            kind: Kind::Blank,
        }
    }

    /// What it is of, with its unit.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The least value shown.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Where a value lies, from 0 to 1; what is outside lies on the edge.
    pub fn share(&self, value: f64) -> f64 {
        let (low, high) = (self.scaled(self.low), self.scaled(self.high));
        ((self.scaled(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Edges of `count` parts, as wide as each other on the axis.
    pub fn edges(&self, count: usize) -> Vec<f64> {
        let (low, high) = (self.scaled(self.low), self.scaled(self.high));
        (0..=count)
            .map(|nth| low + (high - low) * nth as f64 / count as f64)
            .map(|place| if self.kind == Kind::Log { place.exp() } else { place })
            .collect()
    }

    fn scaled(&self, value: f64) -> f64 {
        if self.kind == Kind::Log {
            value.max(f64::MIN_POSITIVE).ln()
        } else {
            value
        }
    }

    /// Where its labels stand, from 0 to 1, and what they say.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let values = match self.kind {
            Kind::Linear => self.linear_ticks(),
            Kind::Log => self.log_ticks(),
            Kind::Blank => Vec::new(),
        };
        values
            .into_iter()
            .filter(|value| (self.low..=self.high).contains(value))
            .map(|value| (self.share(value), number(value)))
            .collect()
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|nice| nice * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        let count = (last - first).clamp(0.0, 2.0 * TICKS) as u32;
        (0..=count).map(|nth| (first + f64::from(nth)) * step).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let (first, last) = (
            self.low.log10().floor().max(-300.0) as i32,
            self.high.log10().ceil().min(300.0) as i32,
        );
        let decades = last - first;
        let nice: &[f64] = if decades <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (decades / 8 + 1).unsigned_abs() as usize;
        (first..=last)
            .step_by(every)
            .flat_map(|power| nice.iter().map(move |nice| nice * 10_f64.powi(power)))
            .collect()
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// A number for people: three digits that mean something.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let digits = if size == 0.0 {
        0
    } else {
        2 - size.log10().floor() as i32
    };
    let text = format!("{value:.0$}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn labels_stand_at_round_numbers() {
        assert_eq!(
            texts(&Axis::over("epoch", [0.0, 300.0])),
            ["0", "50", "100", "150", "200", "250", "300"]
        );
        assert_eq!(
            texts(&Axis::over("loss", [0.02, 0.11])),
            ["0.02", "0.04", "0.06", "0.08", "0.1"]
        );
        assert_eq!(texts(&Axis::log_over("error", [0.3, 8.0])), ["0.5", "1", "2", "5"]);
        assert_eq!(texts(&Axis::log_over("error", [1e-6, 2.0])).first().unwrap(), "1e-6");
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_has_room() {
        for axis in [
            Axis::over("a", []),
            Axis::over("a", [f64::NAN]),
            Axis::over("a", [0.0]),
            Axis::log_over("a", [0.0]),
            Axis::log_over("a", [7.0, 7.0]),
        ] {
            assert!(axis.high > axis.low, "{axis:?}");
            assert!(axis.edges(4).is_sorted() && axis.share(axis.low) == 0.0);
        }
        assert_eq!(number(0.046_71), "0.0467");
        assert_eq!(number(1_234.5), "1234");
    }
}
