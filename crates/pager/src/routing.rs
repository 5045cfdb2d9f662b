//! Who is owed a page. A trigger goes to whoever takes it by a route, and later, when nobody acknowledges it in time, to
//! those it escalates to; what follows goes to whoever is owed, or was sent,
//! what opened the incident, whatever the time then.
//!
//! **Invariant:** nobody is told that an incident was taken or is over who was never told of it.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_domain::{IncidentId, PageAction, Timestamp};
use tocsin_store::outbox::{DeliveryState, OwedPage, PageDelivery};

use crate::Config;
use crate::message::Page;

type Stored = tocsin_store::outbox::Page;

impl Config {
    /// The destinations that take a trigger. One that can't be read goes to all: a page is not lost over a route.
    fn takers(&self, trigger: &Stored) -> BTreeSet<String> {
        let page = Page::parse(trigger).ok();
        let takers = self.destinations.iter().filter(|destination| match &page {
            Some(page) => {
                let routes = destination.routes();
                let is_last_resort = self.escalate_to.iter().any(|name| name == destination.name());
                routes.iter().any(|route| route.takes(page)) || (routes.is_empty() && !is_last_resort)
            }
            None => true,
        });
        takers.map(|destination| destination.name().to_owned()).collect()
    }

    /// The names of the destinations.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.destinations.iter().map(crate::Destination::name);
        names.map(str::to_owned).collect()
    }
}

/// What came of looking at pages: the deliveries to make, and the triggers that nobody takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) owed: Vec<(i64, String)>,
    pub(crate) untaken: Vec<String>,
}

/// Finds out who is owed pages; they come in the order of the outbox.
pub(crate) fn route(config: &Config, pages: &[OwedPage]) -> Routed {
    let mut told: BTreeMap<IncidentId, BTreeSet<String>> = BTreeMap::new();
    let mut routed = Routed::default();
    let names: BTreeSet<String> = config.names().into_iter().collect();
    for OwedPage {
        page,
        told: before,
        settled,
    } in pages
    {
        let told = told.entry(page.incident).or_default();
        told.extend(before.iter().cloned());
        let mut owed: BTreeSet<String> = if page.action == PageAction::Trigger {
            let takers = config.takers(page);
            if takers.is_empty() {
                routed.untaken.push(page.page_key.clone());
            }
            takers
        } else {
            told.intersection(&names).cloned().collect()
        };
        // Whoever has a settled delivery of a trigger and isn't among `before` had it in a flood alone.
        owed.retain(|name| !settled.contains(name));
        if page.action == PageAction::Trigger {
            told.extend(owed.iter().cloned());
        }
        routed.owed.extend(owed.into_iter().map(|name| (page.id, name)));
    }
    routed
}

/// Which of an incident's pages that no destination has yet will be sent to one.
pub(crate) struct Outlook<'a> {
    config: &'a Config,
    is_open: bool,
    now: Timestamp,
    /// Somebody is owed, or was sent, what opened the incident.
    is_told: bool,
}

impl<'a> Outlook<'a> {
    /// Of an incident with all its pages.
    pub(crate) fn new(config: &'a Config, pages: &[PageDelivery], is_open: bool, now: Timestamp) -> Self {
        let mut outlook = Self {
            config,
            is_open,
            now,
            is_told: false,
        };
        let triggers = pages.iter().filter(|page| page.page.action == PageAction::Trigger);
        outlook.is_told = triggers.into_iter().any(|trigger| outlook.is_told_by(trigger));
        outlook
    }

    /// Whether somebody is told of the incident by this trigger alone, not in a flood.
    fn is_told_by(&self, trigger: &PageDelivery) -> bool {
        match trigger.destination {
            Some(_) => trigger.state != DeliveryState::Joined && trigger.page.flood.is_none(),
            None => self.is_owed(&trigger.page),
        }
    }

    /// Whether a page that no destination has will be sent to one.
    pub(crate) fn is_owed(&self, page: &Stored) -> bool {
        let is_in_time = self.config.owes(page, self.is_open, self.now);
        is_in_time
            && match page.action {
                PageAction::Trigger => !self.config.takers(page).is_empty(),
                PageAction::Acknowledge | PageAction::Resolve => self.is_told,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Destination;
    use crate::destination::{Route, Webhook};
    use crate::message::tests::page;
    use tocsin_domain::Severity;
    use tocsin_judge::PageReason;

    fn hook(name: &str, severities: &[Severity]) -> Destination {
        let route = Route {
            severities: severities.to_vec(),
            ..Route::default()
        };
        Destination::Webhook(Webhook {
            routes: if severities.is_empty() { Vec::new() } else { vec![route] },
            ..Webhook::new(name, "http://x")
        })
    }

    fn config() -> Config {
        Config {
            destinations: vec![hook("alerts", &[Severity::Alert]), hook("pages", &[Severity::Page])],
            ..Config::default()
        }
    }

    fn owed(id: i64, reason: PageReason, severity: Severity, told: &[&str]) -> OwedPage {
        let page = page(reason, severity);
        OwedPage {
            page: Stored {
                id,
                page_key: format!("page-{id}"),
                incident: page.payload.incident_id,
                action: page.action,
                payload_json: serde_json::to_string(&page.payload).unwrap(),
                created_at: page.created_at,
                flood: None,
            },
            told: told.iter().map(|name| (*name).to_owned()).collect(),
            settled: Vec::new(),
        }
    }

    fn names(routed: &Routed) -> Vec<(i64, &str)> {
        routed.owed.iter().map(|(id, name)| (*id, name.as_str())).collect()
    }

    #[test]
    fn what_follows_goes_to_whoever_was_told_of_the_opening_or_the_rise() {
        let pages = [
            owed(1, PageReason::Opened, Severity::Alert, &[]),
            owed(2, PageReason::Escalated, Severity::Page, &[]),
            owed(3, PageReason::Cleared, Severity::Page, &[]),
        ];
        let routed = route(&config(), &pages);
        assert_eq!(
            names(&routed),
            [(1, "alerts"), (2, "pages"), (3, "alerts"), (3, "pages")]
        );
        let alone = [owed(3, PageReason::Cleared, Severity::Page, &["alerts", "gone"])];
        assert_eq!(names(&route(&config(), &alone)), [(3, "alerts")]);
        let never = [owed(3, PageReason::Cleared, Severity::Page, &[])];
        assert_eq!(route(&config(), &never), Routed::default());
    }

    /// As another pager finds it, or the same after a restart.
    #[test]
    fn who_has_an_opening_in_a_flood_alone_is_not_told_that_it_is_over() {
        let mut opened = owed(1, PageReason::Opened, Severity::Page, &[]);
        opened.settled = vec!["pages".to_owned()];
        let over = owed(2, PageReason::Cleared, Severity::Page, &[]);
        assert_eq!(route(&config(), &[opened, over]), Routed::default());
    }

    #[test]
    fn whom_pages_escalate_to_is_told_at_once_only_by_a_route() {
        let config = Config {
            destinations: vec![hook("duty", &[]), hook("boss", &[]), hook("pages", &[Severity::Page])],
            escalate_to: vec!["boss".to_owned(), "pages".to_owned()],
            ..Config::default()
        };
        let opened = owed(1, PageReason::Opened, Severity::Page, &[]);
        assert_eq!(names(&route(&config, &[opened])), [(1, "duty"), (1, "pages")]);
        let over = owed(2, PageReason::Cleared, Severity::Page, &["duty", "boss"]);
        assert_eq!(names(&route(&config, &[over])), [(2, "boss"), (2, "duty")]);
    }

    #[test]
    fn a_trigger_that_nobody_takes_is_known_and_one_that_can_t_be_read_goes_to_all() {
        let deaf = Config {
            destinations: vec![hook("pages", &[Severity::Page])],
            ..Config::default()
        };
        let mut trigger = owed(1, PageReason::Opened, Severity::Alert, &[]);
        assert_eq!(route(&deaf, std::slice::from_ref(&trigger)).untaken, ["page-1"]);
        trigger.page.payload_json = "{}".to_owned();
        assert_eq!(names(&route(&deaf, &[trigger])), [(1, "pages")]);
    }

    #[test]
    fn the_outlook_of_a_page_is_that_of_its_routes() {
        let deaf = Config {
            destinations: vec![hook("pages", &[Severity::Page])],
            ..Config::default()
        };
        let delivery = |owed: OwedPage, destination: Option<&str>| PageDelivery {
            page: owed.page,
            destination: destination.map(str::to_owned),
            state: tocsin_store::outbox::DeliveryState::Waiting,
            attempts: Vec::new(),
        };
        let opened = owed(1, PageReason::Opened, Severity::Alert, &[]);
        let cleared = owed(2, PageReason::Cleared, Severity::Alert, &[]).page;
        let now = cleared.created_at;
        let pages = [delivery(opened.clone(), None)];
        let outlook = Outlook::new(&deaf, &pages, true, now);
        assert!(!outlook.is_owed(&opened.page) && !outlook.is_owed(&cleared));
        let (config, pages) = (config(), [delivery(opened.clone(), None)]);
        let outlook = Outlook::new(&config, &pages, true, now);
        assert!(outlook.is_owed(&opened.page) && outlook.is_owed(&cleared));
        let pages = [delivery(opened, Some("gone"))];
        assert!(Outlook::new(&deaf, &pages, true, now).is_owed(&cleared));
    }
}
