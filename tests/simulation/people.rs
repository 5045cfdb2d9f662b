//! What people do beside each other and beside all that goes on: they acknowledge, comment and hand over, they shelve
//! machines and take them out of service, and bring them back. One of them at a time, and what they did counts from when
//! its transaction is in the database.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use sqlx::Row as _;

use crate::model::{OUT_OF_SERVICE, SHELVED};
use crate::stage::SITE;
use crate::world::World;

/// What somebody does to an incident of a machine (its place among those it has had, and its number), or to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Acknowledge(usize, i64),
    Comment(usize, i64),
    HandOver(usize, i64),
    Suppress(Shelf),
    Restore,
}

/// How a machine's pages are to be kept from people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelf {
    pub(crate) kind: &'static str,
    pub(crate) time: Duration,
    pub(crate) one_shot: bool,
}

impl World {
    /// People acknowledge what is open, mostly; what is over already, sometimes; and what they have acknowledged before.
    /// Now and then they have something to say, or want to hear no more.
    pub(crate) async fn people(&mut self, unit: usize) -> Result<()> {
        let deed = if self.chance(0.006) {
            Some(self.about_the_machine(unit))
        } else {
            self.about_an_incident(unit).await?
        };
        let Some(deed) = deed else { return Ok(()) };
        let place = self.rng.random_range(0..self.replicas.len());
        self.ask(place, unit, deed);
        // Most wait for an answer; others act while readings come in.
        if self.chance(0.5) {
            self.quiet().await?;
        }
        Ok(())
    }

    fn about_the_machine(&mut self, unit: usize) -> Deed {
        let restores = if self.units[unit].model.service().is_some() {
            0.6
        } else {
            0.05
        };
        if self.chance(restores) {
            return Deed::Restore;
        }
        let is_shelved = self.chance(0.7);
        Deed::Suppress(Shelf {
            kind: if is_shelved { SHELVED } else { OUT_OF_SERVICE },
            time: Duration::from_secs(self.rng.random_range(20..3_000)),
            one_shot: is_shelved && self.chance(0.4),
        })
    }

    async fn about_an_incident(&mut self, unit: usize) -> Result<Option<Deed>> {
        let incidents = &self.units[unit].model.incidents;
        let Some(last) = incidents.last() else { return Ok(None) };
        let (nth, any) = (incidents.len() - 1, incidents.len());
        let share = match last.state() {
            "active_unacknowledged" => 0.05,
            "returned_unacknowledged" => 0.15,
            "active_acknowledged" => 0.02,
            _ => 0.004,
        };
        let is_taken = last.state() == "active_acknowledged";
        let is_other = self.chance(0.003);
        if !is_other && !self.chance(share) {
            return Ok(None);
        }
        let nth = if is_other { self.rng.random_range(0..any) } else { nth };
        let draw: f64 = self.rng.random();
        let number = self.incident_of(unit, nth).await?;
        Ok(number.map(|number| match draw {
            ..0.1 => Deed::Comment(nth, number),
            ..0.2 => Deed::HandOver(nth, number),
            ..0.6 if is_taken => Deed::HandOver(nth, number),
            _ => Deed::Acknowledge(nth, number),
        }))
    }

    /// The number of a machine's incident, by its place among those it has had.
    async fn incident_of(&mut self, unit: usize, nth: usize) -> Result<Option<i64>> {
        let machine = i64::from(self.units[unit].place.machine);
        let query = "select incident_id from incident where machine_id = $1 order by incident_id";
        let rows = self.database.rows(query, Some(machine)).await?;
        Ok(rows.get(nth).map(|row| row.try_get(0)).transpose()?)
    }

    /// What somebody did is in the database; whether it could be done.
    pub(crate) fn is_done(&mut self, unit: usize, deed: &Deed) -> bool {
        let model = &mut self.units[unit].model;
        match deed {
            Deed::Acknowledge(nth, _) => model.acknowledge(*nth),
            Deed::Comment(nth, _) => model.comment(*nth),
            Deed::HandOver(nth, _) => model.hand_over(*nth),
            Deed::Suppress(shelf) => model.suppress(shelf.kind, shelf.one_shot),
            Deed::Restore => model.restore(),
        }
    }

    /// Everybody is to be heard of again.
    pub(crate) async fn restore_all(&mut self) -> Result<()> {
        for unit in 0..self.units.len() {
            if self.units[unit].model.service().is_some() {
                self.ask(0, unit, Deed::Restore);
                self.quiet().await?;
            }
        }
        if self.units.iter().any(|unit| unit.model.service().is_some()) {
            self.violated(|| format!("a machine of {SITE} can't be brought back, although nothing is in the way"));
        }
        Ok(())
    }
}
