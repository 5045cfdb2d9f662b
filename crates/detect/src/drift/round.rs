//! One round of following: all sensors of a class and spec together.

use std::collections::BTreeMap;

use super::{Cusum, Finding, FollowRule, Peers, Suspected, common_rise, follow};
use crate::baseline::Baseline;

/// Periods in which a healthy sensor should hardly ever be suspected: a year of days.
const HORIZON: f64 = 365.0;

/// Where a sensor stands before a round.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    /// Its machine: one suspected sensor holds all of a machine's.
    pub machine: i64,
    /// What was commissioned.
    pub commissioned: &'a Baseline,
    /// Median log spectrum of the active version.
    pub active: &'a [f32],
    /// Median log spectrum of the period past; none when there were too few readings.
    pub recent: Option<Vec<f32>>,
    /// Whether an incident was open in the period: what the sensor read then is compared with its peers, and nothing follows
    /// it.
    pub disturbed: bool,
    /// Mean of such medians over its first periods: a hundred readings commission a baseline a little beside the state that
    /// the sensor is usually in, and no rise is to be seen in that. None until there is one.
    pub usual: Option<&'a [f32]>,
    /// How far it stood above its peers so far.
    pub cusum: Cusum,
}

/// What a round came to for one sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Median log spectrum of the next version: the active one where nothing moved.
    pub median: Vec<f32>,
    /// What its move means.
    pub finding: Finding,
    /// How far it stood above its peers in this period, in robust standard deviations; 0 without peers.
    pub standing: f64,
    /// The same in sum.
    pub cusum: Cusum,
    /// Which way its machine departs from its peers; a sensor without peers is held as if it had risen. None: it may
    /// follow.
    pub held: Option<Suspected>,
}

/// Lets every sensor of a class follow. Sensors without peers (of fewer than four machines any was seen) follow down alone.
pub fn follow_class(sensors: &[Standing<'_>], rule: FollowRule) -> Vec<Followed> {
    let rises: Vec<Option<Vec<f32>>> = sensors.iter().map(Standing::rise).collect();
    let moves: Vec<Option<Vec<f32>>> = sensors.iter().map(Standing::move_in_scales).collect();
    let seen = sensors.iter().zip(&moves);
    let seen: Vec<(i64, &[f32])> = seen
        .filter_map(|(sensor, own)| Some((sensor.machine, own.as_deref()?)))
        .collect();
    let peers = Peers::new(&seen);
    let undisturbed = sensors.iter().zip(&rises).filter(|(sensor, _)| !sensor.disturbed);
    let common = common_rise(undisturbed.filter_map(|(sensor, rise)| Some((sensor.machine, rise.as_deref()?))));
    let mut compared = peers.iter().flat_map(Peers::compared);
    let mut followed: Vec<Followed> = sensors
        .iter()
        .zip(&moves)
        .map(|(sensor, own)| {
            let own = own.as_ref().and_then(|_| compared.next()).zip(peers.as_ref());
            let standing = own.map_or(0.0, |(own, _)| f64::from(own.standing()));
            let alone = own.map_or(Finding::Steady, |(own, peers)| peers.finding(own, sensor.disturbed));
            // What it shares with others is no sign against it, and does not add up.
            let counts = own.is_some() && sensor.usual.is_some() && alone != Finding::Drift;
            let cusum = if counts {
                sensor.cusum.after(standing)
            } else {
                sensor.cusum
            };
            let crept = counts && cusum.is_out_of_control(sensors.len(), HORIZON);
            Followed {
                median: Vec::new(),
                finding: if crept { Finding::Suspicion } else { alone },
                standing,
                cusum,
                held: match own {
                    Some((own, _)) if crept || alone == Finding::Suspicion => Some(own.direction()),
                    _ if peers.is_none() => Some(Suspected::Risen),
                    _ => None,
                },
            }
        })
        .collect();
    let mut suspected: BTreeMap<i64, Suspected> = BTreeMap::new();
    for (sensor, followed) in sensors.iter().zip(&followed) {
        match followed.held {
            Some(Suspected::Risen) => _ = suspected.insert(sensor.machine, Suspected::Risen),
            Some(Suspected::Fallen) => _ = suspected.entry(sensor.machine).or_insert(Suspected::Fallen),
            None => {}
        }
    }
    for (sensor, followed) in sensors.iter().zip(&mut followed) {
        followed.held = suspected.get(&sensor.machine).copied();
        followed.median = match (&sensor.recent, &common) {
            (Some(recent), Some(common)) if !sensor.disturbed => {
                let commissioned = sensor.commissioned.median();
                follow(commissioned, sensor.active, recent, common, followed.held, rule)
            }
            _ => sensor.active.to_vec(),
        };
    }
    followed
}

impl Standing<'_> {
    fn rise(&self) -> Option<Vec<f32>> {
        let recent = self.recent.as_ref()?;
        let pairs = recent.iter().zip(self.commissioned.median());
        Some(pairs.map(|(recent, median)| recent - median).collect())
    }

    /// How far the sensor stands from where it usually does, in scales.
    fn move_in_scales(&self) -> Option<Vec<f32>> {
        let recent = self.recent.as_ref()?;
        let usual = self.usual.unwrap_or(self.commissioned.median());
        let triples = recent.iter().zip(usual).zip(self.commissioned.scale());
        Some(
            triples
                .map(|((recent, usual), scale)| (recent - usual) / scale)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINS: usize = 16;

    fn commissioned() -> Baseline {
        Baseline::new(vec![5.0; BINS], vec![0.2; BINS], None).unwrap()
    }

    /// One round in which each sensor, each on its own machine, rose by so much.
    fn round(rises: &[f32]) -> Vec<Followed> {
        round_of((0..).zip(rises.iter().copied()))
    }

    /// One round in which each sensor, on the machine it is on, rose by so much.
    fn round_of(rises: impl IntoIterator<Item = (i64, f32)>) -> Vec<Followed> {
        let commissioned = commissioned();
        let wobble = |at: usize, bin: usize| 0.01 * (((at * 7 + bin * 3) % 5) as f32 - 2.0);
        let standings: Vec<Standing<'_>> = rises
            .into_iter()
            .enumerate()
            .map(|(at, (machine, rise))| Standing {
                machine,
                commissioned: &commissioned,
                active: commissioned.median(),
                recent: Some((0..BINS).map(|bin| 5.0 + rise + wobble(at, bin)).collect()),
                disturbed: false,
                usual: None,
                cusum: Cusum::default(),
            })
            .collect();
        follow_class(&standings, FollowRule::default())
    }

    #[test]
    fn a_class_that_rises_is_followed_and_a_machine_that_rises_alone_is_held() {
        let together = round(&[0.2; 8]);
        assert!(
            together
                .iter()
                .all(|f| f.finding == Finding::Drift && f.median[0] > 5.15)
        );
        let mut falls = [0.0; 8];
        falls[2] = -0.8;
        let fallen = &round(&falls)[2];
        assert_eq!(
            (fallen.finding, fallen.held),
            (Finding::Suspicion, Some(Suspected::Fallen))
        );
        assert!(
            fallen.median.iter().all(|m| *m > 4.98),
            "it learns no fall of one machine"
        );
        let mut rises = [0.0; 8];
        rises[2] = 0.8;
        let alone = round(&rises);
        assert_eq!(
            (alone[2].finding, alone[2].held),
            (Finding::Suspicion, Some(Suspected::Risen))
        );
        assert!(alone[2].median.iter().all(|m| *m <= 5.0));
        assert!(alone[3].finding == Finding::Steady && alone[3].held.is_none());
    }

    #[test]
    fn without_peers_nothing_moves_up() {
        let few = round(&[0.2; 3]);
        assert!(
            few.iter()
                .all(|f| f.held.is_some() && f.median.iter().all(|m| *m <= 5.0))
        );
        let down = round(&[-0.2; 3]);
        assert!(down.iter().all(|f| f.median[0] < 4.85));
    }

    /// Three decibels of a natural logarithm.
    const THREE_DB: f32 = 0.345;

    fn moves_nowhere_up(followed: &Followed) -> bool {
        followed.median.iter().all(|m| *m <= 5.0)
    }

    #[test]
    fn one_machine_is_no_class_however_many_channels_rise() {
        for followed in round_of([(1, THREE_DB); 4]) {
            assert_ne!(followed.finding, Finding::Drift);
            assert_eq!(followed.held, Some(Suspected::Risen));
            assert!(moves_nowhere_up(&followed), "{followed:?}");
        }
    }

    #[test]
    fn of_two_machines_the_failing_one_is_not_followed_by_half_its_rise() {
        let two = round_of([(1, 0.0), (1, 0.0), (2, THREE_DB), (2, THREE_DB)]);
        assert!(
            two.iter()
                .all(|followed| followed.held.is_some() && moves_nowhere_up(followed)),
            "{two:?}"
        );
    }

    #[test]
    fn a_machine_whose_four_channels_rise_alike_is_held_and_its_class_stays() {
        let rises = (0..24).map(|at| (at / 4, if at / 4 == 2 { 0.8 } else { 0.0 }));
        let followed = round_of(rises);
        for (at, followed) in followed.iter().enumerate() {
            if at / 4 == 2 {
                assert_eq!(
                    (followed.finding, followed.held),
                    (Finding::Suspicion, Some(Suspected::Risen)),
                    "channel {at}"
                );
                assert!(moves_nowhere_up(followed), "{followed:?}");
            } else {
                assert!(followed.median.iter().all(|m| *m < 5.05), "{followed:?}");
            }
        }
    }

    #[test]
    fn machines_of_many_channels_that_rise_together_are_followed() {
        let together = round_of((0..16).map(|at| (at / 4, 0.2)));
        assert!(
            together
                .iter()
                .all(|f| f.finding == Finding::Drift && f.held.is_none() && f.median[0] > 5.15),
            "{together:?}"
        );
    }
}
