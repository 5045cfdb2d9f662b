//! What happens in a turn: time goes by, a machine runs, its gateway sends, now and then in a way no gateway should, and
//! people look after their incidents.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;

use crate::model::STEP;
use crate::plant::Batch;
use crate::stage::MACHINES;
use crate::world::{Mood, World};

/// Four hours, in steps: what a second fault may be held back for.
const HELD_BACK: i64 = 1_440;
/// Batches that a gateway sends at once.
const AT_ONCE: usize = 4;

impl World {
    /// One machine's turn.
    pub(crate) async fn turn(&mut self) -> Result<()> {
        let unit = (self.report.steps % MACHINES as u64) as usize;
        if unit == 0 {
            self.next_step().await?;
        }
        self.machine_runs(unit).await?;
        self.people(unit).await?;
        self.gateway_sends(unit);
        // Now and then the next machine's turn comes before all is done.
        if self.rng.random_bool(0.8) {
            self.quiet().await?;
        }
        Ok(())
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    async fn next_step(&mut self) -> Result<()> {
        self.quiet().await?;
        self.sway();
        for place in self.absent() {
            if self.down[place] == 0 {
                self.bring_up(place).await?;
            }
            self.down[place] = self.down[place].saturating_sub(1);
        }
        if self.chance(0.003) {
            self.report.crashes += 1;
            let place = self.rng.random_range(0..self.replicas.len());
            self.kill(place);
        }
        if self.chance(0.002) {
            // A clock is set, by minutes.
            let place = self.rng.random_range(0..self.replicas.len());
            let ahead = Duration::from_secs(self.rng.random_range(1..600));
            if let Some(replica) = &self.replicas[place] {
                replica.clock.advance(ahead);
            }
        }
        if self.chance(0.006) {
            self.load_step();
        }
        let mut steps = 1;
        let at = self.at();
        let is_held_back = |second: &crate::plant::Second| second.not_before > at;
        if self
            .units
            .iter()
            .any(|unit| unit.plant.second.as_ref().is_some_and(is_held_back))
            && self.chance(0.1)
        {
            steps += HELD_BACK;
        }
        self.step += steps;
        let time = Duration::from_micros((steps * STEP) as u64);
        if steps > 1 || self.chance(0.7) {
            self.pass(time).await
        } else {
            // What follows goes on beside what machines send.
            self.move_time(time).await;
            Ok(())
        }
    }

    /// A load comes on that all machines bear badly: a flood of incidents.
    fn load_step(&mut self) {
        let level = self.rng.random_range(2.1..2.6);
        for unit in &mut self.units {
            unit.plant.bear(level, unit.model.open().is_some(), &mut self.rng);
        }
    }

    async fn machine_runs(&mut self, unit: usize) -> Result<()> {
        self.maybe_worsen(unit).await?;
        let at = self.at();
        let remembers = self.chance(0.005);
        let of = &mut self.units[unit];
        of.plant.run(at, of.model.open().is_some(), &mut self.rng);
        if remembers {
            of.plant.remember(at);
        }
        Ok(())
    }

    fn gateway_sends(&mut self, unit: usize) {
        if self.units[unit].plant.offline > 0 {
            self.units[unit].plant.offline -= 1;
            return;
        }
        if self.chance(0.006) {
            self.units[unit].plant.offline = self.rng.random_range(1..14);
        }
        if self.chance(0.02) {
            let plant = &mut self.units[unit].plant;
            plant.held_up.extend(plant.spool.pop_back());
        }
        let first = self.rng.random_range(0..self.replicas.len());
        let other = 1 - first;
        if self.chance(0.12) {
            self.race(unit, first, other);
            return;
        }
        let late = self.chance(0.1).then(|| self.units[unit].plant.held_up.pop()).flatten();
        if let Some(late) = late {
            self.units[unit].plant.spool.push_front(late.clone());
            let received_at = self.received_at();
            self.send_if_free(first, &[(unit, late)], received_at);
            self.send_spool(other, unit);
            return;
        }
        if self.chance(0.04) {
            self.send_again(first, unit);
            self.send_spool(other, unit);
            return;
        }
        if !self.send_spool(first, unit) {
            self.send_spool(other, unit);
        }
    }

    /// Two streams at the same moment: two steps of a machine, or the same one twice.
    fn race(&mut self, unit: usize, first: usize, other: usize) {
        let spool = &self.units[unit].plant.spool;
        let (one, two) = (spool.front().cloned(), spool.get(1).or(spool.front()).cloned());
        for (place, batch) in [(first, one), (other, two)] {
            if let Some(batch) = batch {
                let received_at = self.received_at();
                self.send_if_free(place, &[(unit, batch)], received_at);
            }
        }
    }

    /// What a gateway has sent before, and once in a while something else under the same name.
    fn send_again(&mut self, place: usize, unit: usize) {
        let sent = self.units[unit].plant.sent.len();
        if sent == 0 {
            return;
        }
        let drawn = self.rng.random_range(0..sent);
        let mut batch = self.units[unit].plant.sent[drawn].clone();
        if self.chance(0.2) {
            batch.number = 0;
            for sample in &mut batch.samples {
                sample.velocity *= 1.5;
            }
        }
        let received_at = self.received_at();
        self.send_if_free(place, &[(unit, batch)], received_at);
    }

    /// Sends what waits; now and then that of another machine with it.
    fn send_spool(&mut self, place: usize, unit: usize) -> bool {
        let mut batches = self.spooled(unit);
        let is_live = batches.iter().all(|(_, batch)| !batch.is_historical);
        let with = self.rng.random_range(0..MACHINES);
        let is_alike = self.units[with].clock_is_capture == self.units[unit].clock_is_capture;
        if self.chance(0.15) && with != unit && is_alike && is_live {
            let more = self.spooled(with);
            batches.extend(more.into_iter().filter(|(_, batch)| !batch.is_historical));
        }
        let received_at = self.received_at();
        self.send_if_free(place, &batches, received_at)
    }

    fn spooled(&self, unit: usize) -> Vec<(usize, Batch)> {
        let spool = &self.units[unit].plant.spool;
        let is_historical = spool.front().is_some_and(|batch| batch.is_historical);
        let alike = spool.iter().take_while(|batch| batch.is_historical == is_historical);
        alike.take(AT_ONCE).map(|batch| (unit, batch.clone())).collect()
    }

    fn send_if_free(&mut self, place: usize, batches: &[(usize, Batch)], received_at: i64) -> bool {
        let is_free = self.is_free(place) && !batches.is_empty();
        if is_free {
            self.send(place, batches, received_at);
        }
        is_free
    }

    /// What an ingest's clock says, which is not always right.
    fn received_at(&mut self) -> i64 {
        let draw: f64 = self.rng.random();
        let off_s = match draw {
            ..0.01 => self.rng.random_range(60..1_200),
            ..0.03 => -30,
            _ => self.rng.random_range(0..3),
        };
        self.now + off_s * 1_000_000
    }

    /// Lets everything come to rest: all that is owed is sent, acknowledged and delivered.
    pub(crate) async fn calm(&mut self) -> Result<()> {
        self.is_rough = false;
        self.moods = self.moods.map(|_| Mood::Well);
        self.quiet().await?;
        for place in self.absent() {
            self.bring_up(place).await?;
        }
        self.quiet().await?;
        for unit in 0..self.units.len() {
            let plant = &mut self.units[unit].plant;
            plant.spool.extend(plant.held_up.drain(..));
            for _ in 0..200 {
                let batches = self.spooled(unit);
                if batches.is_empty() {
                    break;
                }
                self.send(0, &batches, self.now);
                self.quiet().await?;
            }
            if !self.units[unit].plant.spool.is_empty() {
                self.violated(|| "readings are not taken, although nothing is in the way".to_owned());
            }
        }
        self.restore_all().await?;
        // Longer than pages take to escalate, those too whose pager's clock was ahead, and than the longest pause between
        // attempts.
        for round in 0..80 {
            self.pass(Duration::from_secs(100)).await?;
            let owed = "select 1 from delivery where state = 'waiting'";
            if round > 20 && self.database.rows(owed, None).await?.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
