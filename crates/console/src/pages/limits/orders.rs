//! What people do with a set of alarm limits. Each leads back to the set's page.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use serde::Deserialize;
use tocsin_contracts::recalibrator::v1::{ActivateRequest, ApproveRequest, RollbackRequest, TestRequest};

use super::set::get;
use super::set_href;
use crate::failure::{Failure, Part};
use crate::session::Session;

/// What a form says; not every form says all of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    #[serde(default)]
    reason: String,
}

/// `POST /limits/{id}/test`.
pub(crate) async fn test(session: Session, Path(threshold_set_id): Path<i32>) -> Result<Redirect, Failure> {
    let done = session.recalibrator().test(TestRequest { threshold_set_id }).await;
    done.map_err(Part::Recalibrator.failed())?;
    Ok(Redirect::to(&set_href(threshold_set_id)))
}

/// `POST /limits/{id}/approve`.
pub(crate) async fn approve(
    session: Session,
    Path(threshold_set_id): Path<i32>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let request = ApproveRequest {
        threshold_set_id,
        reason: order.reason,
    };
    let done = session.recalibrator().approve(request).await;
    done.map_err(Part::Recalibrator.failed())?;
    Ok(Redirect::to(&set_href(threshold_set_id)))
}

/// `POST /limits/{id}/activate`.
pub(crate) async fn activate(
    session: Session,
    Path(threshold_set_id): Path<i32>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let request = ActivateRequest {
        threshold_set_id,
        reason: order.reason,
    };
    let done = session.recalibrator().activate(request).await;
    done.map_err(Part::Recalibrator.failed())?;
    Ok(Redirect::to(&set_href(threshold_set_id)))
}

/// `POST /limits/{id}/rollback`: from this set to what judged its class before. A page that was left open while another set came into
/// force takes nothing back.
pub(crate) async fn roll_back(
    session: Session,
    Path(threshold_set_id): Path<i32>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let set = get(&session, threshold_set_id).await?;
    if set.state != "active" {
        let reason = format!(
            "alarm limits #{threshold_set_id} are {}, not active: nothing was rolled back",
            set.state
        );
        return Err(Failure::Refused(reason));
    }
    let request = RollbackRequest {
        class: set.class,
        reason: order.reason,
    };
    let done = session.recalibrator().rollback(request).await;
    done.map_err(Part::Recalibrator.failed())?;
    Ok(Redirect::to(&set_href(threshold_set_id)))
}
