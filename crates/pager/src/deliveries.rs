//! Deliveries over gRPC: what was given up is found, and sent again by a person.

use serde_json::json;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{Principal, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::outbox::{DeliveryId, DeliveryListing, DeliveryQuery, DeliveryState};

use crate::{Error, Service, wire};

impl Service {
    /// Deliveries the caller may see, newest first.
    pub(crate) async fn deliveries(
        &self,
        by: &Principal,
        asked: &v1::ListDeliveriesRequest,
    ) -> Result<Vec<v1::Delivery>, Error> {
        let listings = self.store.delivery_list(&by.scope(), &query(asked)?).await?;
        Ok(listings.into_iter().map(to_wire).collect())
    }

    /// Sends what was given up again; answers the delivery, and how many go out with it.
    pub(crate) async fn resend(&self, by: &Principal, id: i64) -> Result<v1::ResendDeliveryResponse, Error> {
        let (scope, id) = (by.scope(), DeliveryId(id));
        let before = self.store.delivery_get(&scope, id).await?;
        if !self.config.names().contains(&before.destination) {
            return Err(Error::NoDestination(before.destination));
        }
        let now = self.clock.now();
        let audit = |count: &u64| {
            let detail = json!({
                "incident": before.incident.0, "page_key": before.page_key, "action": before.action.as_str(),
                "destination": before.destination, "deliveries": count,
            });
            NewAuditEntry::new(by.actor(), "page.resend", format!("delivery:{}", id.0), &detail)
        };
        let count = self.store.delivery_resend(&scope, id, now, audit).await?;
        Ok(v1::ResendDeliveryResponse {
            delivery: Some(to_wire(self.store.delivery_get(&scope, id).await?)),
            deliveries: count,
        })
    }
}

/// Reads which deliveries are asked for.
fn query(asked: &v1::ListDeliveriesRequest) -> Result<DeliveryQuery, Malformed> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(DeliveryQuery {
        id: None,
        state: given(&asked.state)
            .map(|state| DeliveryState::parse(&state))
            .transpose()?,
        destination: given(&asked.destination),
        site: given(&asked.site).map(|site| Slug::parse("site", &site)).transpose()?,
        before: (asked.before_delivery_id != 0).then_some(DeliveryId(asked.before_delivery_id)),
        limit: wire::limit(asked.limit)?,
    })
}

fn to_wire(listing: DeliveryListing) -> v1::Delivery {
    let is_waiting = listing.state == DeliveryState::Waiting;
    v1::Delivery {
        delivery_id: listing.id.0,
        incident_id: listing.incident.0,
        site: listing.site_name.into(),
        machine: listing.machine_name.into(),
        page_key: listing.page_key,
        action: listing.action.as_str().to_owned(),
        created_at: Some(time::to_wire(listing.created_at)),
        destination: listing.destination,
        state: listing.state.as_str().to_owned(),
        attempts: listing.attempt_count.unsigned_abs(),
        last_attempt: listing.last_attempt.map(|attempt| v1::DeliveryAttempt {
            at: Some(time::to_wire(attempt.at)),
            outcome: attempt.outcome.as_str().to_owned(),
            answer: attempt.answer,
        }),
        next_attempt_at: is_waiting.then(|| time::to_wire(listing.next_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_makes_no_sense_names_its_field() {
        let asked = |state: &str, site: &str, limit| {
            query(&v1::ListDeliveriesRequest {
                state: state.to_owned(),
                site: site.to_owned(),
                limit,
                ..Default::default()
            })
        };
        assert_eq!(asked("lost", "", 0).unwrap_err().field, "state");
        assert_eq!(asked("", "A b", 0).unwrap_err().field, "site");
        assert_eq!(asked("", "", 1_001).unwrap_err().field, "limit");
        let all = asked("", "", 0).unwrap();
        assert!(all.state.is_none() && all.before.is_none() && all.limit == 100);
        assert_eq!(asked("dead", "", 7).unwrap().state, Some(DeliveryState::Dead));
    }
}
