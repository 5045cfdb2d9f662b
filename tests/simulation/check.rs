//! What is in the database and at the receivers, held against what should be.

use std::collections::BTreeMap;

use anyhow::Result;
use rand::RngExt;
use sqlx::Row as _;

use crate::model::{Incident, STEP};
use crate::receivers::Request;
use crate::replica::DESTINATIONS;
use crate::world::World;

/// A page that a receiver has taken.
pub(crate) type Taken = Request;

/// An incident as the database has it.
#[derive(Debug, Default, PartialEq)]
struct Stored {
    id: i64,
    severity: i16,
    state: String,
    opened_at: i64,
    closed_at: Option<i64>,
    events: Vec<(String, String, Option<i64>)>,
    pages: Vec<(String, String)>,
}

/// A page that was decided: why, and for which step in microseconds.
#[derive(Debug, PartialEq)]
struct Trigger {
    reason: String,
    step: i64,
    /// Its incident is.
    is_open: bool,
}

/// A machine's incidents, each with what its journal and the outbox say of it.
const INCIDENTS: &str = "
    select n.incident_id, n.severity, n.state, (extract(epoch from n.opened_at) * 1000000)::int8 as opened_at,
           (extract(epoch from n.closed_at) * 1000000)::int8 as closed_at,
           array(select e.kind || '/' || coalesce(e.payload->>'reason', e.payload->>'severity', '') || '/' || (extract(epoch from e.at) * 1000000)::int8
                 from machine_event e where e.machine_id = n.machine_id and e.incident_id = n.incident_id and e.kind <> 'step'
                 order by e.seq) as events,
           array(select o.action || '/' || o.page_key from outbox o where o.incident_id = n.incident_id and o.flood_id is null
                 order by o.outbox_id) as pages
    from incident n where n.machine_id = $1 order by n.incident_id";

/// What each destination is owed, and has: `delivered`, `joined` to a flood whose page is delivered to it, or something
/// that is neither.
const OWED: &str = "
    select o.page_key, o.action, w.destination,
           case when w.destination = 'boss' and o.action = 'trigger' then exists (
                    select from incident n
                    where n.incident_id = o.incident_id and n.closed_at is null and n.acknowledged_at is null
                      and o.flood_id is null
                      and not exists (select from delivery j where j.outbox_id = o.outbox_id and j.state = 'joined')
                      and o.outbox_id = (select max(t.outbox_id) from outbox t where t.flood_id is null
                                         and t.incident_id = n.incident_id and t.action = 'trigger'))
                when o.flood_id is not null then f.destination = w.destination
                when o.action = 'trigger' then true
                else exists (select from outbox t join delivery x using (outbox_id)
                             where t.incident_id = o.incident_id and t.flood_id is null and t.action = 'trigger'
                               and t.outbox_id < o.outbox_id and x.destination = w.destination and x.state <> 'joined')
           end as is_owed,
           case when d.state = 'joined' and not exists (
                    select from flood_incident i join flood g using (flood_id) join outbox p using (flood_id)
                    join delivery x on x.outbox_id = p.outbox_id and x.destination = g.destination
                    where i.incident_id = o.incident_id and g.destination = w.destination
                      and p.action = 'trigger' and x.state = 'delivered') then 'joined to nothing'
                else coalesce(d.state, 'nothing') end as has
    from outbox o cross join unnest(array['duty', 'control-room', 'boss']) w(destination)
    left join flood f on f.flood_id = o.flood_id
    left join delivery d on d.outbox_id = o.outbox_id and d.destination = w.destination
    order by o.outbox_id, w.destination";

/// Entries that have the time of whoever made them, and not that of a step.
const BY_PEOPLE: [&str; 5] = ["acknowledged", "commented", "handed_over", "suppressed", "restored"];

/// Whether a machine's journal is dense and ends where its state says.
const DENSE: &str = "
    select 1 from machine_event e left join machine_state s using (machine_id) where machine_id = $1
    having count(*) <> count(distinct e.seq) or count(*) <> max(e.seq) or max(e.seq) <> max(s.last_seq)";

impl World {
    async fn stored(&mut self, unit: usize) -> Result<Vec<Stored>> {
        let machine = i64::from(self.units[unit].place.machine);
        let rows = self.database.rows(INCIDENTS, Some(machine)).await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let events: Vec<String> = row.try_get("events")?;
            let pages: Vec<String> = row.try_get("pages")?;
            anyhow::Ok(Stored {
                id: row.try_get("incident_id")?,
                severity: row.try_get("severity")?,
                state: row.try_get("state")?,
                opened_at: row.try_get("opened_at")?,
                closed_at: row.try_get("closed_at")?,
                events: events.iter().map(|event| of_journal(event)).collect(),
                pages: pages.iter().filter_map(|page| two(page)).collect(),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Holds a machine's incidents, journal and pages against what should be.
    pub(crate) async fn check(&mut self, unit: usize) -> Result<()> {
        let stored = self.stored(unit).await?;
        let machine = self.units[unit].place.machine;
        let expected = &self.units[unit].model.incidents;
        let same = stored.len() == expected.len() && stored.iter().zip(expected).all(|(is, should)| is.is(should));
        if !same {
            let expected = expected.clone();
            let last = stored.len().max(expected.len()).saturating_sub(2);
            self.violated(|| {
                let (is, should) = (stored.get(last..), expected.get(last..));
                format!("machine {machine}: there is {is:#?} where should be {should:#?}")
            });
        }
        if let Some(wrong) = stored.iter().find(|incident| !incident.follows_from_its_journal()) {
            self.violated(|| format!("machine {machine}: its journal does not lead to {wrong:?}"));
        }
        if stored.iter().filter(|incident| incident.closed_at.is_none()).count() > 1 {
            self.violated(|| format!("machine {machine} has two incidents open"));
        }
        let machine = i64::from(machine);
        if !self.database.rows(DENSE, Some(machine)).await?.is_empty() {
            self.violated(|| format!("machine {machine}: its journal has holes"));
        }
        Ok(())
    }

    /// Holds everything against what should be, when all is calm.
    pub(crate) async fn check_all(&mut self) -> Result<()> {
        for unit in 0..self.units.len() {
            self.check(unit).await?;
        }
        self.check_readings().await?;
        self.check_deliveries().await
    }

    async fn check_readings(&mut self) -> Result<()> {
        let query = "select sensor_id, (extract(epoch from captured_at) * 1000000)::int8, content_hash from reading";
        let mut stored: BTreeMap<(i64, i32), Vec<i64>> = BTreeMap::new();
        for row in self.database.rows(query, None).await? {
            let key = (row.try_get(1)?, row.try_get(0)?);
            stored.entry(key).or_default().push(row.try_get(2)?);
        }
        let rows = self.units.iter().flat_map(|unit| &unit.model.rows);
        let expected: BTreeMap<(i64, i32), Vec<i64>> = rows.map(|(key, row)| (*key, vec![row.hash])).collect();
        if stored != expected {
            self.violated(|| format!("{} readings are stored, not the {}", stored.len(), expected.len()));
        }
        Ok(())
    }

    /// Whoever is owed a page has it, by itself or with a flood's; nobody is told of the end of what they were not told of.
    async fn check_deliveries(&mut self) -> Result<()> {
        let mut untold = Vec::new();
        for row in self.database.rows(OWED, None).await? {
            let (page_key, action): (String, String) = (row.try_get("page_key")?, row.try_get("action")?);
            let name: String = row.try_get("destination")?;
            let (is_owed, has): (bool, String) = (row.try_get("is_owed")?, row.try_get("has")?);
            let place = DESTINATIONS.iter().position(|destination| *destination == name);
            let is_taken = self
                .taken
                .iter()
                .any(|taken| (Some(taken.destination), &taken.page_key, &taken.action) == (place, &page_key, &action));
            let is_right = match has.as_str() {
                "delivered" => is_taken,
                "joined" => true,
                _ => !is_owed,
            };
            if !is_right {
                untold.push(format!("{action} of {page_key} has not reached {name}: {has}"));
            }
        }
        for what in untold {
            self.violated(|| what);
        }
        let overdue = "select 1 from suppression where ended_at is null";
        if !self.database.rows(overdue, None).await?.is_empty() {
            self.violated(|| "a machine is suppressed for ever".to_owned());
        }
        Ok(())
    }

    /// Looks at requests that have come: each is of a page that was decided, and repeats none that was delivered.
    pub(crate) async fn hear_arrivals(&mut self) -> Result<()> {
        for request in self.receivers.arrivals() {
            let query = "select (select count(*) from outbox o where o.page_key = $1 and o.action = $2),
                                (select count(*) from outbox o join delivery d using (outbox_id)
                                 join delivery_attempt a using (delivery_id)
                                 where o.page_key = $1 and o.action = $2 and d.destination = $3
                                   and a.outcome = 'delivered')";
            let asked = sqlx::query(query).bind(&request.page_key).bind(&request.action);
            let asked = asked.bind(DESTINATIONS[request.destination]);
            let row = asked.fetch_one(self.database.admin()).await?;
            let (decided, delivered): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            if decided != 1 {
                self.violated(|| format!("{request:?} is of no page"));
            }
            if delivered > 0 {
                self.violated(|| format!("{request:?} repeats what was delivered"));
            }
            let is_over = |taken: &Taken| is_same_story(taken, &request) && taken.action == "resolve";
            if request.action == "trigger" && self.taken.iter().any(is_over) {
                self.violated(|| format!("{request:?} came after the end of its incident"));
            }
        }
        Ok(())
    }

    /// A receiver takes a page.
    pub(crate) fn page_taken(&mut self, request: &Request) {
        let is_begun = |taken: &Taken| is_same_story(taken, request) && taken.action == "trigger";
        if request.action != "trigger" && !self.taken.iter().any(is_begun) {
            self.violated(|| format!("{request:?} came before what it is about"));
        }
        self.taken.push(request.clone());
    }

    /// Now and then an acknowledged incident goes further than people know.
    pub(crate) async fn maybe_worsen(&mut self, unit: usize) -> Result<()> {
        let of = &self.units[unit];
        let Some(open) = of
            .model
            .open()
            .filter(|open| open.is_acknowledged && of.plant.may_worsen())
        else {
            return Ok(());
        };
        let is_page = open.is_page;
        if !self.rng.random_bool(0.1) {
            return Ok(());
        }
        let Some(mut second) = self.units[unit].plant.second_fault(is_page, &mut self.rng) else {
            return Ok(());
        };
        let triggers = self.triggers(unit).await?;
        let of_open = triggers.iter().filter(|trigger| trigger.is_open);
        let said = of_open
            .filter(|trigger| trigger.reason == second.kind.reason())
            .map(|trigger| trigger.step);
        second.not_before = said
            .map(|said| said + 1_440 * STEP)
            .max()
            .unwrap_or_default()
            .max(self.at());
        second.pages_before = triggers.len();
        self.units[unit].plant.second = Some(second);
        Ok(())
    }

    /// The triggers, sent or kept, of all incidents that a machine has had: the one that is open may be over before a
    /// second fault of it is heard of, and that is then the next one.
    async fn triggers(&mut self, unit: usize) -> Result<Vec<Trigger>> {
        let query = "select p.payload->>'reason' as reason, n.closed_at is null as is_open,
                            (extract(epoch from (p.payload->>'step')::timestamptz) * 1000000)::int8 as step
                     from incident n join (
                         select incident_id, page_key, payload from outbox where action = 'trigger' and flood_id is null
                         union
                         select incident_id, page_key, payload from suppressed_page
                         where action = 'trigger' and released_at is null) p using (incident_id)
                     where n.machine_id = $1";
        let machine = i64::from(self.units[unit].place.machine);
        let rows = self.database.rows(query, Some(machine)).await?;
        let read = |row: &sqlx::postgres::PgRow| {
            Ok(Trigger {
                reason: row.try_get("reason")?,
                step: row.try_get("step")?,
                is_open: row.try_get("is_open")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Looks whether second faults that hold have been paged, as their readings are acknowledged.
    pub(crate) async fn watch_second_fault(&mut self, unit: usize) -> Result<()> {
        let Some(second) = self.units[unit].plant.second.clone() else {
            return Ok(());
        };
        let paged = self.triggers(unit).await?.len() > second.pages_before;
        if !paged && second.is_due() {
            self.report.missed_second_faults += 1;
            let should = self.units[unit].model.open();
            eprintln!(
                "step {}: {second:?} was not paged; there should be {should:#?}",
                self.report.steps
            );
        }
        if paged || second.is_due() {
            self.units[unit].plant.settle();
        }
        Ok(())
    }
}

fn is_same_story(one: &Taken, other: &Request) -> bool {
    (one.destination, &one.story) == (other.destination, &other.story)
}

fn two(text: &str) -> Option<(String, String)> {
    text.split_once('/')
        .map(|(one, other)| (one.to_owned(), other.to_owned()))
}

/// Kind, reason or severity where it has one, and time of an entry; people's have a time of their own.
fn of_journal(text: &str) -> (String, String, Option<i64>) {
    let mut parts = text.split('/').map(str::to_owned);
    let (kind, reason) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let at = parts
        .next()
        .and_then(|at| at.parse().ok())
        .filter(|_| !BY_PEOPLE.contains(&kind.as_str()));
    (kind, reason, at)
}

impl Stored {
    fn is(&self, should: &Incident) -> bool {
        let events = should.events.iter();
        let events: Vec<_> = events
            .map(|(kind, reason, at)| ((*kind).to_owned(), (*reason).to_owned(), *at))
            .collect();
        let mut trigger = String::new();
        let pages = should.pages.iter().map(|(action, reason, step)| {
            if let Some(step) = step {
                let key = format!("tocsin-incident-{}-{reason}-{}", self.id, step / 1_000);
                if *action == "trigger" {
                    trigger.clone_from(&key);
                }
                return ((*action).to_owned(), key);
            }
            ((*action).to_owned(), trigger.clone())
        });
        let pages: Vec<(String, String)> = pages.collect();
        (self.severity == 2) == should.is_page
            && self.state == should.state()
            && (self.opened_at, self.closed_at) == (should.opened_at, should.closed_at)
            && self.events == events
            && self.pages == pages
    }

    /// Whether its state and severity are those that its journal leads to.
    fn follows_from_its_journal(&self) -> bool {
        let (mut is_open, mut is_taken, mut is_page) = (false, false, false);
        for (nth, (kind, says, _)) in self.events.iter().enumerate() {
            let is_legal = match kind.as_str() {
                "opened" => nth == 0,
                "escalated" => is_open && !is_page,
                "re_alarmed" => is_open && is_taken && is_page,
                "acknowledged" => !is_taken,
                "handed_over" => is_open && is_taken,
                "cleared" | "page_suppressed" | "suppressed" => is_open,
                "restored" | "commented" => true,
                _ => false,
            };
            if !is_legal {
                return false;
            }
            is_open = (is_open || kind == "opened") && kind != "cleared";
            is_taken = (is_taken || kind == "acknowledged") && kind != "re_alarmed" && kind != "escalated";
            is_page |= kind == "escalated" || says == "page";
        }
        let state = match (is_open, is_taken) {
            (true, false) => "active_unacknowledged",
            (true, true) => "active_acknowledged",
            (false, false) => "returned_unacknowledged",
            (false, true) => "normal",
        };
        self.state == state && (self.severity == 2) == is_page && is_open == self.closed_at.is_none()
    }
}
