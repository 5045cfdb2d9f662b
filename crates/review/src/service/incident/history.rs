//! What happened around an incident: its journal, its pages, what people said, and what judged its class.

use serde_json::Value;
use tocsin_contracts::incident_review::{Attempt, Change, Event, Label, Page, Suppression, WorkOrder};
use tocsin_domain::{ClassId, IncidentId, Scope};
use tocsin_store::binding::Binding;
use tocsin_store::incident::{Incident, IncidentListing};
use tocsin_store::label::LabelQuery;
use tocsin_store::suppression::SuppressionQuery;

use super::Service;
use crate::Error;
use crate::period::Period;

/// Steps of the journal: the newest.
const STEPS: u32 = 1_000;
/// Suppressions that are looked through, the newest.
const SUPPRESSIONS: u32 = 1_000;

impl Service {
    pub(super) async fn journal_of(&self, scope: &Scope, id: IncidentId) -> Result<(Vec<Event>, u64), Error> {
        let journal = self.store.journal_by_incident(scope, id, STEPS).await?;
        let event = |event: tocsin_store::machine::Event| Event {
            seq: event.seq,
            at: event.at,
            kind: event.kind.as_str().to_owned(),
            // The database keeps nothing else.
            payload: serde_json::from_str(&event.payload_json).unwrap_or(Value::String(event.payload_json)),
        };
        Ok((journal.events.into_iter().map(event).collect(), journal.earlier_steps))
    }

    pub(super) async fn pages_of(&self, scope: &Scope, incident: &Incident) -> Result<Vec<Page>, Error> {
        let pages = self.store.pages_by_incident(scope, incident.id).await?;
        let page = |delivery: tocsin_store::outbox::PageDelivery| Page {
            page_key: delivery.page.page_key,
            created_at: delivery.page.created_at,
            action: delivery.page.action.as_str().to_owned(),
            state: match delivery.destination {
                // Nobody was told of it, and of what is over nobody will be.
                None if !incident.state.is_active() => "unsent".to_owned(),
                _ => delivery.state.as_str().to_owned(),
            },
            destination: delivery.destination,
            attempts: delivery
                .attempts
                .into_iter()
                .map(|attempt| Attempt {
                    at: attempt.at,
                    outcome: attempt.outcome.as_str().to_owned(),
                    answer: attempt.answer,
                })
                .collect(),
        };
        Ok(pages.into_iter().map(page).collect())
    }

    pub(super) async fn labels_of(&self, scope: &Scope, incident: &Incident) -> Result<Vec<Label>, Error> {
        let query = LabelQuery {
            machine: incident.machine,
            incident: Some(incident.id),
        };
        let label = |label: tocsin_store::label::MachineLabel| Label {
            label: label.label.as_str().to_owned(),
            mode: label.mode,
            note: label.note,
            at: label.at,
            by: label.by,
            in_force: label.in_force,
        };
        Ok(self.store.labels(scope, &query).await?.into_iter().map(label).collect())
    }

    pub(super) async fn work_order_of(&self, scope: &Scope, id: IncidentId) -> Result<Option<WorkOrder>, Error> {
        let order = self.store.work_order(scope, id).await?;
        Ok(order.map(|order| WorkOrder {
            reference: order.reference,
            url: order.url,
            at: order.at,
            by: order.by,
        }))
    }

    pub(super) async fn suppressions_of(
        &self,
        scope: &Scope,
        listing: &IncidentListing,
        period: Period,
    ) -> Result<Vec<Suppression>, Error> {
        let query = SuppressionQuery {
            site: Some(listing.site_name.clone()),
            machine: Some(listing.machine_name.clone()),
            limit: SUPPRESSIONS,
            ..SuppressionQuery::default()
        };
        let mut met = Vec::new();
        for one in self.store.suppression_list(scope, &query).await? {
            let order = one.suppression.order;
            let (ended_at, ended_by) = one.ended.unzip();
            if order.from < period.to && ended_at.is_none_or(|ended| ended >= period.from) {
                met.push(Suppression {
                    kind: order.kind.as_str().to_owned(),
                    from: order.from,
                    until: order.until,
                    ended_at,
                    ended_by,
                    by: order.by,
                    reason: order.reason,
                });
            }
        }
        met.reverse();
        Ok(met)
    }

    pub(super) async fn changes_of(&self, class: ClassId, period: Period) -> Result<Vec<Change>, Error> {
        let mut history = self.store.binding_history(Some(class), None).await?;
        history.reverse();
        Ok(changes(&history, period))
    }
}

/// The changes of limits and models in a period; `history` is oldest first.
fn changes(history: &[Binding], period: Period) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut before: (Option<i32>, Option<i32>) = (None, None);
    for binding in history {
        let set = binding.threshold_set.map(|set| set.0);
        let bundle = binding.champion.map(|(bundle, _)| bundle.0);
        let meets = binding.changed_at >= period.from && binding.changed_at < period.to;
        for (kind, from, to) in [("threshold_set", before.0, set), ("bundle", before.1, bundle)] {
            if meets && from != to {
                changes.push(Change {
                    at: binding.changed_at,
                    kind: kind.to_owned(),
                    from,
                    to,
                    by: binding.changed_by.clone(),
                    reason: binding.reason.clone(),
                });
            }
        }
        before = (set, bundle);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{BundleDigest, BundleId, Slug, ThresholdSetId, Timestamp};

    #[test]
    fn a_change_is_told_with_what_was_before_it_and_only_in_the_period() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let binding = |version, set, bundle| Binding {
            class: ClassId(1),
            class_name: Slug::parse("name", "pump").unwrap(),
            version,
            champion: Some((BundleId(bundle), BundleDigest([1; 32]))),
            challenger: None,
            threshold_set: Some(ThresholdSetId(set)),
            changed_at: at(version),
            changed_by: "ana".to_owned(),
            reason: "why".to_owned(),
        };
        let history = [binding(1, 1, 1), binding(2, 2, 1), binding(3, 3, 2), binding(4, 3, 2)];
        let period = Period { from: at(3), to: at(9) };
        let told: Vec<_> = changes(&history, period)
            .into_iter()
            .map(|one| (one.at, one.kind, one.from, one.to))
            .collect();
        assert_eq!(
            told,
            [
                (at(3), "threshold_set".to_owned(), Some(2), Some(3)),
                (at(3), "bundle".to_owned(), Some(1), Some(2))
            ]
        );
    }
}
