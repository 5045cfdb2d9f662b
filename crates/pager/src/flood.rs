//! Floods, per destination that is told of edges: more than ten incidents that are new to it in ten minutes are one page
//! that names them. A page waits a little for that, so that the first of a flood are in it too. A machine that differs
//! from the flood is paged alone. A receiver of levels groups by itself, and has no floods.
//!
//! **Invariant:** whoever is told of an incident is told of it once, alone or in a flood. A flood's page is over when no more come
//! and none of its incidents is open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::{FloodId, IncidentId, PageAction, Slug, Timestamp};
use tocsin_judge::flood::{CommonCause, FloodRules, Newcomer, Profile};
use tocsin_judge::page::{FloodNote, PagePayload, PageReason, flood_key, flood_page_key};
use tocsin_store::Transaction;
use tocsin_store::outbox::flood::{
    flood_begin, flood_end, flood_is_taken, flood_join, flood_open, flood_page, flood_page_insert, floods_acknowledge,
    floods_open, floods_resolve, incidents_gateways, newcomers_since,
};
use tocsin_store::outbox::{NewPage, OwedPage};

use crate::message::Page;
use crate::{Config, Error};

mod people;

type Stored = tocsin_store::outbox::Page;

/// Machines that a flood's page names.
const NAMED: usize = 50;

/// What is done about pages that are owed.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Deliveries to make.
    pub(crate) send: Vec<(i64, String)>,
    /// Pages that wait, to be looked at again.
    pub(crate) held: BTreeSet<i64>,
    /// Pages about floods that were written.
    pub(crate) floods: u64,
}

/// Sorts what is owed into what goes out, what waits and what is a flood.
pub(crate) struct Floods<'a> {
    pub(crate) config: &'a Config,
    pub(crate) rules: FloodRules,
    /// One machine step of each class.
    pub(crate) steps: &'a BTreeMap<Slug, Duration>,
    pub(crate) now: Timestamp,
}

/// A page that tells a destination of an incident for the first time.
#[derive(Debug, Clone)]
struct First {
    stored: Stored,
    page: Page,
}

impl First {
    fn newcomer(&self) -> Newcomer {
        let payload = &self.page.payload;
        Newcomer {
            incident: payload.incident_id,
            at: if payload.replay {
                payload.step
            } else {
                self.page.created_at
            },
            site: payload.site.clone(),
            class: payload.class.clone(),
            level: payload.level,
            detector: payload.deciding_detector,
            bins: payload
                .top_bins
                .iter()
                .map(|bin| (bin.index, bin.error_share))
                .collect(),
            gateway: None,
        }
    }
}

impl Floods<'_> {
    /// Sorts what `owed` says of `pages`, which come in the order of the outbox.
    pub(crate) async fn sort(
        &self,
        tx: &mut Transaction,
        pages: &[OwedPage],
        owed: Vec<(i64, String)>,
    ) -> Result<Sorted, Error> {
        let by_number: BTreeMap<i64, &OwedPage> = pages.iter().map(|owed| (owed.page.id, owed)).collect();
        let mut by_destination: BTreeMap<String, Vec<&OwedPage>> = BTreeMap::new();
        for (number, destination) in owed {
            by_destination.entry(destination).or_default().push(by_number[&number]);
        }
        let mut sorted = Sorted::default();
        for (destination, pages) in by_destination {
            if self.config.is_told_of_edges(&destination) {
                self.sort_for(tx, &destination, &pages, &mut sorted).await?;
            } else {
                sorted
                    .send
                    .extend(pages.iter().map(|owed| (owed.page.id, destination.clone())));
            }
        }
        Ok(sorted)
    }

    async fn sort_for(
        &self,
        tx: &mut Transaction,
        destination: &str,
        pages: &[&OwedPage],
        sorted: &mut Sorted,
    ) -> Result<(), Error> {
        let mut firsts: Vec<First> = Vec::new();
        let mut following = Vec::new();
        let mut seen = BTreeSet::new();
        for owed in pages {
            match first(owed, destination, &mut seen) {
                Some(first) => firsts.push(first),
                None => following.push(&owed.page),
            }
        }
        let joining = self.joining(tx, destination, &firsts).await?;
        let in_flood = joining.is_some();
        let joining = joining.unwrap_or_default();
        let joins: BTreeSet<i64> = joining.iter().map(|first| first.stored.id).collect();
        let mut held = BTreeSet::new();
        for First { stored, page } in &firsts {
            if joins.contains(&stored.id) {
                continue;
            }
            if in_flood || self.goes_at(page) <= self.now {
                sorted.send.push((stored.id, destination.to_owned()));
            } else {
                held.insert(stored.incident);
                sorted.held.insert(stored.id);
            }
        }
        // Of an incident that only the flood's page tells of, what follows is told by that too.
        let mut only_in_flood: BTreeSet<IncidentId> = joining.iter().map(|first| first.stored.incident).collect();
        for page in following {
            if held.contains(&page.incident) {
                sorted.held.insert(page.id);
                continue;
            }
            if page.action == PageAction::Trigger {
                only_in_flood.remove(&page.incident);
            }
            if !only_in_flood.contains(&page.incident) {
                sorted.send.push((page.id, destination.to_owned()));
            }
        }
        // Delivered in the order of the outbox.
        sorted.send.sort_unstable();
        if !joining.is_empty() {
            sorted.floods += self.join(tx, destination, &joining).await?;
        }
        Ok(())
    }

    /// When a page goes out: a machine step and a half after it was decided, in case it is the first of a flood; machines
    /// that rise together are up to a step apart. A replay doesn't wait, for its steps are not now.
    fn goes_at(&self, page: &Page) -> Timestamp {
        let least = self.config.flood_wait();
        if page.payload.replay || least.is_zero() {
            return page.created_at;
        }
        let step = self.steps.get(&page.payload.class).copied().unwrap_or_default();
        page.created_at + (least.max(step) * 3 / 2).min(self.rules.window)
    }

    /// While the destination is in a flood, or one begins with these pages: those of them that are part of it.
    async fn joining(
        &self,
        tx: &mut Transaction,
        destination: &str,
        firsts: &[First],
    ) -> Result<Option<Vec<First>>, Error> {
        let Some(newest) = firsts.iter().map(|first| first.newcomer().at).max() else {
            return Ok(None);
        };
        let since = self.now - self.rules.window * 2;
        let before = newcomers_since(tx, destination, since).await?;
        let mut newcomers: Vec<Newcomer> = before.iter().filter_map(readable).map(|f| f.newcomer()).collect();
        newcomers.extend(firsts.iter().map(First::newcomer));
        // One begins when the first of its pages has waited, with all that came meanwhile.
        let begins = || {
            let is_due = firsts.iter().any(|first| self.goes_at(&first.page) <= self.now);
            is_due && self.rules.begins(&newcomers, newest)
        };
        match flood_open(tx, destination).await? {
            // Whoever has taken all of it was told of what it is; what comes now is news.
            Some(open) if flood_is_taken(tx, open).await? => return Ok(None),
            None if !begins() => return Ok(None),
            Some(_) | None => {}
        }
        newcomers.retain(|one| one.at > newest - self.rules.window);
        let profile = Profile::of(&newcomers);
        let joins = |first: &&First| profile.stands_out(&first.newcomer()).is_none();
        Ok(Some(firsts.iter().filter(joins).cloned().collect()))
    }

    /// Takes pages into the destination's flood, which begins with them if there is none; answers how many pages about
    /// that were written.
    async fn join(&self, tx: &mut Transaction, destination: &str, joining: &[First]) -> Result<u64, Error> {
        let open = flood_open(tx, destination).await?;
        let flood = match open {
            Some(flood) => flood,
            None => flood_begin(tx, destination, self.now).await?,
        };
        let pages: Vec<Stored> = joining.iter().map(|first| first.stored.clone()).collect();
        flood_join(tx, (flood, destination), &pages, self.now).await?;
        if open.is_some() {
            return Ok(0);
        }
        tracing::warn!(%flood, destination, incidents = joining.len(), "a flood: its machines are paged together");
        let incidents: Vec<IncidentId> = joining.iter().map(|first| first.stored.incident).collect();
        let page = opening(flood, joining, &incidents_gateways(tx, &incidents).await?);
        flood_page_insert(tx, (flood, destination), &page, self.now).await?;
        Ok(1)
    }

    /// Ends the floods to which no more come; says of those that somebody has taken as a whole that they are, and of those
    /// that nothing is open of that they are over. Answers how many pages about
    /// that were written.
    pub(crate) async fn end(&self, tx: &mut Transaction) -> Result<u64, Error> {
        for (flood, destination) in floods_open(tx).await? {
            let newcomers = newcomers_since(tx, &destination, self.now - self.rules.window).await?;
            // By the wall's clock: replays stop coming too.
            let newcomers: Vec<Newcomer> = newcomers
                .iter()
                .filter_map(readable)
                .map(|first| Newcomer {
                    at: first.page.created_at,
                    ..first.newcomer()
                })
                .collect();
            if self.rules.is_over(&newcomers, self.now) {
                flood_end(tx, flood, self.now).await?;
            }
        }
        let taken = floods_acknowledge(tx, self.now).await?;
        let over = floods_resolve(tx, self.now).await?;
        let follows = |floods: Vec<(FloodId, String)>, reason| {
            floods
                .into_iter()
                .map(move |(flood, destination)| (flood, destination, reason))
        };
        let mut written = 0;
        for (flood, destination, reason) in
            follows(taken, PageReason::Acknowledged).chain(follows(over, PageReason::FloodOver))
        {
            if let Some(trigger) = flood_page(tx, flood).await? {
                let page = about(&trigger, reason)?;
                flood_page_insert(tx, (flood, &destination), &page, self.now).await?;
                written += 1;
            }
        }
        Ok(written)
    }
}

/// The page, if it is the first that the destination is told of its incident. One that can't be read is nobody's first.
fn first(owed: &OwedPage, destination: &str, firsts: &mut BTreeSet<IncidentId>) -> Option<First> {
    let page = &owed.page;
    if page.action != PageAction::Trigger || owed.told.iter().any(|told| told == destination) {
        return None;
    }
    let first = readable(page)?;
    let is_new = matches!(first.page.payload.reason, PageReason::Opened | PageReason::Escalated);
    (is_new && firsts.insert(page.incident)).then_some(first)
}

fn readable(stored: &Stored) -> Option<First> {
    Some(First {
        page: Page::parse(stored).ok()?,
        stored: stored.clone(),
    })
}

/// What tells of a flood that begins with some pages.
fn opening(flood: FloodId, joining: &[First], gateways: &BTreeMap<IncidentId, String>) -> NewPage {
    let newcomer = |first: &First| Newcomer {
        gateway: gateways.get(&first.stored.incident).cloned(),
        ..first.newcomer()
    };
    let newcomers: Vec<Newcomer> = joining.iter().map(newcomer).collect();
    let machine = |first: &First| format!("{}/{}", first.page.payload.site, first.page.payload.machine);
    let note = FloodNote {
        flood_id: flood,
        incidents: u32::try_from(joining.len()).unwrap_or(u32::MAX),
        machines: joining.iter().take(NAMED).map(machine).collect(),
        common: CommonCause::of(&newcomers),
        median_level: Profile::of(&newcomers).median_level,
    };
    let said = joining[0].page.payload.clone();
    let payload = PagePayload {
        reason: PageReason::Flood,
        dedup_key: flood_key(flood),
        flood: Some(note),
        ..said
    };
    NewPage {
        page_key: flood_page_key(flood),
        incident: payload.incident_id,
        action: PageAction::Trigger,
        payload_json: serde_json::to_string(&payload).expect("names, times and numbers have a JSON form"),
    }
}

/// What follows a flood's page, in its words and under its key.
fn about(trigger: &Stored, reason: PageReason) -> Result<NewPage, Error> {
    let said = Page::parse(trigger)?;
    let payload = PagePayload { reason, ..said.payload };
    Ok(NewPage {
        page_key: said.key,
        incident: trigger.incident,
        action: reason.action(),
        payload_json: serde_json::to_string(&payload).expect("names, times and numbers have a JSON form"),
    })
}
