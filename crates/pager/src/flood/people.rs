//! Floods over gRPC: listed, shown, and taken as one.

use tocsin_contracts::incidents::v1;
use tocsin_contracts::time;
use tocsin_domain::{FloodId, IncidentState, Principal, Scope};
use tocsin_store::outbox::FloodListing;

use crate::hook::Answered;
use crate::taking::Taker;
use crate::{Error, Service, wire};

impl Service {
    /// Floods the caller sees, newest first.
    pub(crate) async fn floods(&self, by: &Principal, asked: &v1::ListFloodsRequest) -> Result<Vec<v1::Flood>, Error> {
        let limit = wire::limit(asked.limit)?;
        let floods = self.store.flood_list(&by.scope(), None, limit).await?;
        Ok(floods.into_iter().map(to_wire).collect())
    }

    /// One flood with its incidents that the caller sees.
    pub(crate) async fn flood(&self, by: &Principal, id: FloodId) -> Result<v1::GetFloodResponse, Error> {
        let scope = by.scope();
        let flood = self.one(by, id).await?;
        let mut incidents = Vec::new();
        for member in self.store.flood_members(&scope, id).await? {
            incidents.push(wire::incident(self.store.incident_get(&scope, member.incident).await?));
        }
        Ok(v1::GetFloodResponse {
            flood: Some(to_wire(flood)),
            incidents,
        })
    }

    /// Takes each incident of a flood that the caller sees, is open and nobody's; answers how many.
    pub(crate) async fn acknowledge_flood(&self, by: &Principal, id: FloodId, note: &str) -> Result<u64, Error> {
        self.one(by, id).await?;
        self.take_flood((by.scope(), by.actor()), Answered::Newest, id, note)
            .await
    }

    /// The same for whoever takes it, one by one: what was taken stays so if the rest fails. Its destination is told when
    /// nothing of it is nobody's any more, however that came.
    pub(crate) async fn take_flood(
        &self,
        (scope, actor): (Scope, String),
        answered: Answered,
        id: FloodId,
        note: &str,
    ) -> Result<u64, Error> {
        // A page about a flood is none of an incident's: what was decided by then is answered, or all there is.
        let answered = match answered {
            Answered::Page(_) => Answered::Newest,
            other => other,
        };
        let mut taken = 0;
        for member in self.store.flood_members(&scope, id).await? {
            let incident = self.store.incident_get(&scope, member.incident).await?.incident;
            if incident.state != IncidentState::ActiveUnacknowledged {
                continue;
            }
            let taker = Taker {
                scope: scope.clone(),
                actor: actor.clone(),
                answered,
            };
            match self.acknowledge_as(taker, incident.id, note.to_owned()).await {
                Ok(_) => taken += 1,
                // It cleared, somebody else was quicker, or there is more to say of it than was answered.
                Err(Error::Transition(_) | Error::Overtaken) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    async fn one(&self, by: &Principal, id: FloodId) -> Result<FloodListing, Error> {
        let found = self.store.flood_list(&by.scope(), Some(id), 1).await?;
        let found = found.into_iter().next();
        found.ok_or_else(|| {
            Error::Store(tocsin_store::Error::NotFound {
                what: format!("flood {id}"),
            })
        })
    }
}

fn to_wire(flood: FloodListing) -> v1::Flood {
    v1::Flood {
        flood_id: flood.id.0,
        destination: flood.destination,
        began_at: Some(time::to_wire(flood.began_at)),
        ended_at: flood.ended_at.map(time::to_wire),
        incidents: flood.incidents,
        unacknowledged: flood.unacknowledged,
    }
}
