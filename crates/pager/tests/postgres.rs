//! The pager against a real Postgres and real HTTP receivers. `TOCSIN_TEST_DATABASE_URL` names a server on which
//! databases may be made; without it these tests say that they were skipped.

#[path = "postgres/alertmanager.rs"]
mod alertmanager;
#[path = "postgres/delivery.rs"]
mod delivery;
#[path = "postgres/destinations.rs"]
mod destinations;
#[path = "postgres/escalation.rs"]
mod escalation;
#[path = "postgres/filters.rs"]
mod filters;
#[path = "postgres/floods.rs"]
mod floods;
#[path = "postgres/incidents.rs"]
mod incidents;
#[path = "postgres/levels.rs"]
mod levels;
#[path = "postgres/links.rs"]
mod links;
#[path = "postgres/receiver.rs"]
mod receiver;
#[path = "postgres/resend.rs"]
mod resend;
#[path = "postgres/routes.rs"]
mod routes;
#[path = "postgres/smtp.rs"]
mod smtp;
#[path = "postgres/stage.rs"]
mod stage;
#[path = "postgres/suppression.rs"]
mod suppression;
#[path = "postgres/work_orders.rs"]
mod work_orders;
