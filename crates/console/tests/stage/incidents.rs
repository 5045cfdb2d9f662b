use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tocsin_contracts::incidents::v1::incidents_service_server::IncidentsService;
use tocsin_contracts::incidents::v1::{
    AcknowledgeByLinkRequest, AcknowledgeByLinkResponse, AcknowledgeIncidentRequest, AcknowledgeIncidentResponse,
    AddLabelRequest, AddLabelResponse, Delivery, DeliveryAttempt, Evidence, GetAcknowledgeLinkRequest,
    GetAcknowledgeLinkResponse, GetIncidentRequest, GetIncidentResponse, GetPagePictureRequest, GetPagePictureResponse,
    Incident, JournalEvent, ListDeliveriesRequest, ListDeliveriesResponse, ListIncidentsRequest, ListIncidentsResponse,
    ListLabelsRequest, ListLabelsResponse, Page, ReceiveHookRequest, ReceiveHookResponse, ResendDeliveryRequest,
    ResendDeliveryResponse, WatchIncidentsRequest, WatchIncidentsResponse,
};
use tocsin_contracts::incidents::v1::{
    AcknowledgeFloodRequest, AcknowledgeFloodResponse, CommentIncidentRequest, CommentIncidentResponse, Flood,
    GetFloodRequest, GetFloodResponse, GetSuppressionRequest, GetSuppressionResponse, HandOverIncidentRequest,
    HandOverIncidentResponse, ListFloodsRequest, ListFloodsResponse, ListSuppressionsRequest, ListSuppressionsResponse,
    OrderWorkRequest, OrderWorkResponse, RestoreMachineRequest, RestoreMachineResponse, SuppressMachineRequest,
    SuppressMachineResponse, SuppressedPage, Suppression, WorkOrder,
};
use tocsin_contracts::incidents::v1::{
    DeleteIncidentFilterRequest, DeleteIncidentFilterResponse, IncidentFilter, ListDestinationsRequest,
    ListDestinationsResponse, ListIncidentFiltersRequest, ListIncidentFiltersResponse, PageDestination,
    SaveIncidentFilterRequest, SaveIncidentFilterResponse,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Caller, Fixture, Fleet, noise, refuse, review};

/// Incident 41's acknowledgement: by whom, with which note.
pub(crate) type Acknowledged = Arc<Mutex<Option<(String, String)>>>;

/// Steps of incident 40, and how many of them are listed.
const LONG_STEPS: u64 = 2_500;
const LISTED_STEPS: u64 = 1_000;

const HOSTILE: &str = "</blockquote><img src=x onerror=alert(1)>";

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller.cloned().ok_or_else(|| Status::internal("no caller"))
}

impl Fixture {
    /// What `olga` saved.
    fn night_shift(&self) -> IncidentFilter {
        IncidentFilter {
            name: if self.fleet == Fleet::Hostile {
                HOSTILE
            } else {
                "night shift"
            }
            .into(),
            open_only: true,
            site: "porto".into(),
            severity: "page".into(),
            saved_at: self.ago(86_400),
            ..IncidentFilter::default()
        }
    }

    pub(super) fn state_of_41(&self) -> &'static str {
        if self.acknowledged.lock().expect("not poisoned").is_some() {
            "active_acknowledged"
        } else {
            "active_unacknowledged"
        }
    }

    fn flood(&self) -> Flood {
        Flood {
            flood_id: 5,
            destination: "on-call".into(),
            began_at: self.ago(7_000),
            ended_at: None,
            incidents: 12,
            unacknowledged: 11,
        }
    }

    /// One in force, of the machine that incident 39 is about, and one that is over.
    fn suppressions(&self) -> Vec<Suppression> {
        let hostile = self.fleet == Fleet::Hostile;
        let reason = if hostile {
            HOSTILE
        } else {
            "spindle motor is being changed"
        };
        let of_39 = self.all().into_iter().find(|incident| incident.incident_id == 39);
        let (site, machine) = of_39.map(|one| (one.site, one.machine)).unwrap_or_default();
        let in_force = Suppression {
            suppression_id: 3,
            site,
            machine,
            kind: "out_of_service".into(),
            from: self.ago(3_600),
            until: self.ago(60),
            by: "olga".into(),
            reason: reason.into(),
            ..Suppression::default()
        };
        let over = Suppression {
            suppression_id: 2,
            kind: "shelved".into(),
            from: self.ago(9_000),
            one_shot: true,
            ended_at: self.ago(5_000),
            ended_by: "time".into(),
            suppressed_pages: 1,
            ..in_force.clone()
        };
        vec![in_force, over]
    }

    fn all(&self) -> Vec<Incident> {
        let incident = |id: i64, site: &str, machine: &str, severity: &str, state: &str, age_s: u64| Incident {
            incident_id: id,
            site: site.into(),
            machine: machine.into(),
            severity: severity.into(),
            state: state.into(),
            opened_at: self.ago(age_s),
            deciding_sensor: "horizontal".into(),
            deciding_detector: "residual".into(),
            peak_level: 1.8,
            latest_level: 0.4,
            threshold_set_id: 4,
            bundle_id: 12,
            class: "cnc-spindle".into(),
            ..Incident::default()
        };
        let taken = self.acknowledged.lock().expect("not poisoned").clone();
        let hostile = self.fleet == Fleet::Hostile;
        let worst = Incident {
            paged_at: self.ago(5_100),
            peak_level: 4.02,
            latest_level: 3.84,
            acknowledged_at: taken.as_ref().and_then(|_| self.ago(30)),
            acknowledged_by: if hostile {
                HOSTILE.into()
            } else {
                taken.map(|(by, _)| by).unwrap_or_default()
            },
            ..incident(41, "porto", "mill-07", "page", self.state_of_41(), 6_000)
        };
        let closed = |incident: Incident, age_s| Incident {
            closed_at: self.ago(age_s),
            acknowledged_by: "olga".into(),
            ..incident
        };
        vec![
            worst,
            incident(40, "porto", "lathe-03", "alert", "active_unacknowledged", 9_400),
            Incident {
                acknowledged_by: "erik".into(),
                latest_level: 2.31,
                peak_level: 2.9,
                ..incident(39, "lyon", "turbine-2", "page", "active_acknowledged", 40_000)
            },
            incident(36, "lyon", "turbine-5", "alert", "returned_unacknowledged", 70_000),
            Incident {
                replay: true,
                ..closed(incident(29, "porto", "mill-07", "alert", "normal", 600_000), 580_000)
            },
        ]
    }

    fn events(&self) -> Vec<JournalEvent> {
        let event = |seq: i64, age_s: u64, kind: &str, payload: String| JournalEvent {
            seq,
            at: self.ago(age_s),
            kind: kind.into(),
            payload_json: payload,
        };
        let step = |seq: i64| {
            let level = 1.1 + 2.7 * (seq as f64 / 60.0) + 0.3 * noise(3, seq as u64);
            event(
                seq,
                6_300 - 90 * seq as u64,
                "step",
                format!(r#"{{"kind":"step","level":{level},"detector":"residual"}}"#),
            )
        };
        let mut events: Vec<JournalEvent> = (0..4).map(step).collect();
        events.push(event(
            4,
            6_000,
            "opened",
            r#"{"kind":"opened","severity":"alert"}"#.into(),
        ));
        events.extend((5..14).map(step));
        events.push(event(14, 5_100, "escalated", r#"{"kind":"escalated"}"#.into()));
        events.extend((15..60).map(step));
        if let Some((by, note)) = &*self.acknowledged.lock().expect("not poisoned") {
            let note = serde_json::Value::from(note.as_str());
            events.push(event(
                60,
                30,
                "acknowledged",
                format!(r#"{{"kind":"acknowledged","by":"{by}","note":{note}}}"#),
            ));
        }
        if self.fleet == Fleet::Hostile {
            let note = serde_json::Value::from(HOSTILE);
            events.push(event(
                61,
                20,
                "acknowledged",
                format!(r#"{{"kind":"acknowledged","by":"x","note":{note}}}"#),
            ));
        }
        events
    }

    /// An incident with more steps than are listed.
    fn long_events(&self) -> Vec<JournalEvent> {
        let event = |seq: u64, kind: &str, payload: &str| JournalEvent {
            seq: seq as i64,
            at: self.ago(9_400 - 3 * seq),
            kind: kind.into(),
            payload_json: payload.into(),
        };
        let step = |seq| event(seq, "step", r#"{"kind":"step","level":1.4,"detector":"residual"}"#);
        let opened = event(0, "opened", r#"{"kind":"opened","severity":"alert"}"#);
        std::iter::once(opened)
            .chain((LONG_STEPS - LISTED_STEPS..LONG_STEPS).map(step))
            .collect()
    }

    fn evidence(&self) -> Vec<Evidence> {
        (0..40u64)
            .map(|i| {
                let age_s = 6_000 - 140 * i;
                let sensor = if i % 3 == 0 { "vertical" } else { "horizontal" };
                let verdict = if i > 8 { "page" } else { "alert" };
                Evidence {
                    sensor: sensor.into(),
                    captured_at: self.ago(age_s),
                    verdict: verdict.into(),
                    detector: if i % 7 == 3 { "overall_level" } else { "residual" }.into(),
                    level: 1.2 + 0.06 * i as f32 + 0.2 * noise(5, i) as f32,
                    bin_error: if i == 2 { vec![] } else { review::errors(i) },
                    baseline_id: 0,
                }
            })
            .collect()
    }

    fn pages(&self) -> Vec<Page> {
        let attempt = |age_s, outcome: &str, answer: &str| DeliveryAttempt {
            at: self.ago(age_s),
            outcome: outcome.into(),
            answer: answer.into(),
        };
        vec![
            Page {
                page_key: "tocsin-incident-41-opened-1767225600000".into(),
                created_at: self.ago(5_100),
                action: "trigger".into(),
                attempts: vec![
                    attempt(5_099, "unknown", "no answer within 5 s"),
                    attempt(5_088, "delivered", "202 Accepted"),
                ],
                state: "delivered".into(),
                destination: "on-call webhook".into(),
            },
            Page {
                page_key: "tocsin-incident-41-opened-1767225600000".into(),
                created_at: self.ago(5_100),
                action: "trigger".into(),
                attempts: vec![attempt(5_099, "refused", "503 Service Unavailable")],
                state: "waiting".into(),
                destination: "alertmanager".into(),
            },
        ]
    }
}

/// One link is ours.
fn known(token: &str) -> Result<(), Status> {
    if token == "41.7.good" {
        Ok(())
    } else {
        Err(Status::unauthenticated("the signature is not one of ours"))
    }
}

#[tonic::async_trait]
impl IncidentsService for Fixture {
    async fn list_incidents(
        &self,
        request: Request<ListIncidentsRequest>,
    ) -> Result<Response<ListIncidentsResponse>, Status> {
        let asked = request.into_inner();
        let mut incidents = if self.fleet == Fleet::Empty { vec![] } else { self.all() };
        incidents.retain(|one| {
            (asked.machine.is_empty() || one.machine == asked.machine)
                && (asked.site.is_empty() || one.site == asked.site)
                && (asked.severity.is_empty() || one.severity == asked.severity)
                && !(asked.open_only && one.state == "normal")
        });
        Ok(Response::new(ListIncidentsResponse { incidents }))
    }

    async fn get_incident(
        &self,
        request: Request<GetIncidentRequest>,
    ) -> Result<Response<GetIncidentResponse>, Status> {
        let id = request.into_inner().incident_id;
        let found = self.all().into_iter().find(|one| one.incident_id == id);
        let incident = found.ok_or_else(|| Status::not_found(format!("no incident {id} in your sites")))?;
        let of_41 = id == 41;
        Ok(Response::new(GetIncidentResponse {
            labels: Vec::new(),
            work_order: of_41.then(|| WorkOrder {
                reference: "WO-7".into(),
                ..WorkOrder::default()
            }),
            incident: Some(incident),
            events: match id {
                41 => self.events(),
                40 => self.long_events(),
                _ => vec![],
            },
            earlier_steps: if id == 40 { LONG_STEPS - LISTED_STEPS } else { 0 },
            evidence: if of_41 { self.evidence() } else { vec![] },
            pages: if of_41 { self.pages() } else { vec![] },
        }))
    }

    async fn acknowledge_incident(
        &self,
        request: Request<AcknowledgeIncidentRequest>,
    ) -> Result<Response<AcknowledgeIncidentResponse>, Status> {
        let caller = request
            .extensions()
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Status::internal("no caller"))?;
        if caller.role == "viewer" {
            return Err(Status::permission_denied(format!(
                "{} may not acknowledge",
                caller.name
            )));
        }
        let AcknowledgeIncidentRequest { incident_id, note } = request.into_inner();
        if incident_id != 41 {
            return Err(Status::failed_precondition("acknowledge: the incident is closed"));
        }
        *self.acknowledged.lock().expect("not poisoned") = Some((caller.name, note));
        Ok(Response::new(AcknowledgeIncidentResponse {
            incident: self.all().into_iter().next(),
        }))
    }

    async fn list_suppressions(
        &self,
        request: Request<ListSuppressionsRequest>,
    ) -> Result<Response<ListSuppressionsResponse>, Status> {
        let asked = request.into_inner();
        let mut suppressions = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            self.suppressions()
        };
        suppressions.retain(|one| {
            (asked.machine.is_empty() || one.machine == asked.machine)
                && !(asked.in_force_only && one.ended_at.is_some())
        });
        Ok(Response::new(ListSuppressionsResponse { suppressions }))
    }

    async fn get_suppression(
        &self,
        request: Request<GetSuppressionRequest>,
    ) -> Result<Response<GetSuppressionResponse>, Status> {
        let id = request.into_inner().suppression_id;
        let found = self.suppressions().into_iter().find(|one| one.suppression_id == id);
        let suppression = found.ok_or_else(|| Status::not_found(format!("no suppression {id} in your sites")))?;
        let page = SuppressedPage {
            page_key: "tocsin-incident-39-opened-1000".into(),
            incident_id: 39,
            action: "trigger".into(),
            decided_at: self.ago(6_000),
            released_at: self.ago(3_000),
            payload_json: "{}".into(),
        };
        let pages = if id == 3 { vec![] } else { vec![page] };
        Ok(Response::new(GetSuppressionResponse {
            suppression: Some(suppression),
            pages,
        }))
    }

    async fn list_floods(&self, _: Request<ListFloodsRequest>) -> Result<Response<ListFloodsResponse>, Status> {
        let floods = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            vec![self.flood()]
        };
        Ok(Response::new(ListFloodsResponse { floods }))
    }

    async fn get_flood(&self, request: Request<GetFloodRequest>) -> Result<Response<GetFloodResponse>, Status> {
        if request.into_inner().flood_id != 5 {
            return Err(Status::not_found("flood"));
        }
        Ok(Response::new(GetFloodResponse {
            flood: Some(self.flood()),
            incidents: self.all(),
        }))
    }

    async fn get_acknowledge_link(
        &self,
        request: Request<GetAcknowledgeLinkRequest>,
    ) -> Result<Response<GetAcknowledgeLinkResponse>, Status> {
        known(&request.into_inner().token)?;
        let incident = self.all().into_iter().next();
        Ok(Response::new(GetAcknowledgeLinkResponse {
            may_acknowledge: self.state_of_41() == "active_unacknowledged",
            summary: "porto/mill-07 page: residual of horizontal at level 3.8".into(),
            incident,
        }))
    }

    async fn get_page_picture(
        &self,
        request: Request<GetPagePictureRequest>,
    ) -> Result<Response<GetPagePictureResponse>, Status> {
        known(&request.into_inner().token)?;
        let png = b"\x89PNG\r\n\x1a\n".to_vec();
        Ok(Response::new(GetPagePictureResponse { png }))
    }

    async fn acknowledge_by_link(
        &self,
        request: Request<AcknowledgeByLinkRequest>,
    ) -> Result<Response<AcknowledgeByLinkResponse>, Status> {
        known(&request.into_inner().token)?;
        let by = "acknowledge link sent to duty".to_owned();
        let before = self
            .acknowledged
            .lock()
            .expect("not poisoned")
            .replace((by, String::new()));
        if before.is_some() {
            return Err(Status::failed_precondition("it is already acknowledged"));
        }
        Ok(Response::new(AcknowledgeByLinkResponse { incident_id: 41 }))
    }

    async fn list_incident_filters(
        &self,
        request: Request<ListIncidentFiltersRequest>,
    ) -> Result<Response<ListIncidentFiltersResponse>, Status> {
        let of_olga = caller(&request)?.name == "olga" && self.fleet != Fleet::Empty;
        let filters = if of_olga { vec![self.night_shift()] } else { vec![] };
        Ok(Response::new(ListIncidentFiltersResponse { filters }))
    }

    async fn save_incident_filter(
        &self,
        request: Request<SaveIncidentFilterRequest>,
    ) -> Result<Response<SaveIncidentFilterResponse>, Status> {
        let name = caller(&request)?.name;
        let filter = request.into_inner().filter.unwrap_or_default();
        if filter.name.is_empty() {
            return Err(Status::invalid_argument("name: has 0 characters"));
        }
        self.order(format!(
            "{name} saves {}: open only {}, {} {} {}, unacknowledged only {}",
            filter.name, filter.open_only, filter.site, filter.machine, filter.severity, filter.unacknowledged_only
        ));
        Ok(Response::new(SaveIncidentFilterResponse { filter: Some(filter) }))
    }

    async fn delete_incident_filter(
        &self,
        request: Request<DeleteIncidentFilterRequest>,
    ) -> Result<Response<DeleteIncidentFilterResponse>, Status> {
        let (caller, name) = (caller(&request)?.name, request.into_inner().name);
        if name != self.night_shift().name {
            return Err(Status::not_found(format!("a saved filter called {name} was not found")));
        }
        self.order(format!("{caller} deletes {name}"));
        Ok(Response::new(DeleteIncidentFilterResponse {}))
    }

    async fn list_destinations(
        &self,
        _: Request<ListDestinationsRequest>,
    ) -> Result<Response<ListDestinationsResponse>, Status> {
        let on_call = PageDestination {
            name: "on-call".into(),
            kind: "pager_duty".into(),
        };
        let destinations = if self.fleet == Fleet::Empty {
            vec![]
        } else {
            vec![on_call]
        };
        Ok(Response::new(ListDestinationsResponse { destinations }))
    }

    refuse! {
        add_label, AddLabelRequest, AddLabelResponse;
        list_labels, ListLabelsRequest, ListLabelsResponse;
        suppress_machine, SuppressMachineRequest, SuppressMachineResponse;
        restore_machine, RestoreMachineRequest, RestoreMachineResponse;
        hand_over_incident, HandOverIncidentRequest, HandOverIncidentResponse;
        comment_incident, CommentIncidentRequest, CommentIncidentResponse;
        order_work, OrderWorkRequest, OrderWorkResponse;
        acknowledge_flood, AcknowledgeFloodRequest, AcknowledgeFloodResponse;
        receive_hook, ReceiveHookRequest, ReceiveHookResponse;
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let state = request.into_inner().state;
        let attempt = |outcome: &str, answer: &str, age_s| DeliveryAttempt {
            at: self.ago(age_s),
            outcome: outcome.into(),
            answer: answer.into(),
        };
        let delivery = |delivery_id, destination: &str, last_attempt, next_attempt_at| Delivery {
            delivery_id,
            incident_id: 41,
            site: "porto".into(),
            machine: "mill-07".into(),
            page_key: "tocsin-incident-41-opened-1".into(),
            action: "trigger".into(),
            created_at: self.ago(4_000),
            destination: destination.into(),
            state: state.clone(),
            attempts: 3,
            last_attempt,
            next_attempt_at,
        };
        let deliveries = match state.as_str() {
            _ if self.fleet == Fleet::Empty => vec![],
            "dead" => {
                let gone = attempt("refused", "410 Gone: <b>no such service</b>", 3_000);
                vec![delivery(17, "pagerduty", Some(gone), None)]
            }
            _ => {
                let silent = attempt("unknown", "no answer in 10 s", 40);
                vec![delivery(18, "control-room", Some(silent), self.ago(0))]
            }
        };
        Ok(Response::new(ListDeliveriesResponse { deliveries }))
    }

    async fn resend_delivery(
        &self,
        request: Request<ResendDeliveryRequest>,
    ) -> Result<Response<ResendDeliveryResponse>, Status> {
        self.order(format!("resend {}", request.into_inner().delivery_id));
        Ok(Response::new(ResendDeliveryResponse::default()))
    }

    type WatchIncidentsStream = Pin<Box<dyn Stream<Item = Result<WatchIncidentsResponse, Status>> + Send>>;

    async fn watch_incidents(
        &self,
        _: Request<WatchIncidentsRequest>,
    ) -> Result<Response<Self::WatchIncidentsStream>, Status> {
        let first = tokio_stream::once(Ok(WatchIncidentsResponse { change: 7 }));
        Ok(Response::new(Box::pin(first.chain(tokio_stream::pending()))))
    }
}
