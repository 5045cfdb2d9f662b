//! Sensors by their machines: however many channels a machine has, it has one voice in what is usual for its class.

use std::collections::BTreeMap;

use crate::baseline::median;

/// The sensors of some machines, each by its place in a list.
#[derive(Debug, Clone)]
pub(super) struct Machines {
    sensors: Vec<Vec<usize>>,
}

impl Machines {
    /// From the machine of each sensor of a list, in its order.
    pub(super) fn of<M: Ord>(machines: impl IntoIterator<Item = M>) -> Self {
        let mut sensors: BTreeMap<M, Vec<usize>> = BTreeMap::new();
        for (place, machine) in machines.into_iter().enumerate() {
            sensors.entry(machine).or_default().push(place);
        }
        Self {
            sensors: sensors.into_values().collect(),
        }
    }

    /// How many machines there are.
    pub(super) fn count(&self) -> usize {
        self.sensors.len()
    }

    /// Median over machines of what each machine's median sensor says; `said` is asked for each place of the list.
    pub(super) fn median(&self, said: impl Fn(usize) -> f32) -> f32 {
        let mut own = Vec::new();
        let of_machine = |sensors: &Vec<usize>| {
            own.clear();
            own.extend(sensors.iter().map(|place| said(*place)));
            median(&mut own)
        };
        let mut of_machines: Vec<f32> = self.sensors.iter().map(of_machine).collect();
        median(&mut of_machines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_voice_however_many_sensors_it_has() {
        let said = [9.0, 1.0, 9.0, 2.0, 9.0];
        let machines = Machines::of(["c", "a", "c", "b", "c"]);
        assert_eq!((machines.count(), machines.median(|place| said[place])), (3, 2.0));
        let alone = Machines::of(0..5);
        assert_eq!((alone.count(), alone.median(|place| said[place])), (5, 9.0));
    }
}
