//! What people ask of a class's models. Each leads back to the class's page.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use serde::Deserialize;
use tocsin_contracts::registry::v1::{PromoteRequest, RollbackRequest, SetChallengerRequest};
use tocsin_contracts::training::v1::RequestTrainingRequest;

use crate::failure::{Failure, Part};
use crate::session::Session;
use crate::view::class_href;

/// What a form says; not every form says all of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    #[serde(default)]
    bundle: String,
    #[serde(default)]
    reason: String,
}

/// `POST /models/{class}/promote`.
pub(crate) async fn promote(
    session: Session,
    Path(class): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let request = PromoteRequest {
        bundle: order.bundle,
        threshold_set_id: 0,
        reason: order.reason,
    };
    let done = session.registry().promote(request).await;
    done.map_err(Part::Registry.failed())?;
    Ok(Redirect::to(&class_href(&class)))
}

/// `POST /models/{class}/challenger`.
pub(crate) async fn challenge(
    session: Session,
    Path(class): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let back = class_href(&class);
    let request = SetChallengerRequest {
        class,
        bundle: order.bundle,
    };
    let done = session.registry().set_challenger(request).await;
    done.map_err(Part::Registry.failed())?;
    Ok(Redirect::to(&back))
}

/// `POST /models/{class}/rollback`.
pub(crate) async fn roll_back(
    session: Session,
    Path(class): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let back = class_href(&class);
    let request = RollbackRequest {
        class,
        reason: order.reason,
    };
    let done = session.registry().rollback(request).await;
    done.map_err(Part::Registry.failed())?;
    Ok(Redirect::to(&back))
}

/// `POST /models/{class}/retrain`.
pub(crate) async fn retrain(
    session: Session,
    Path(class): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let back = class_href(&class);
    let request = RequestTrainingRequest {
        class,
        reason: order.reason,
        ..RequestTrainingRequest::default()
    };
    let done = session.training().request_training(request).await;
    done.map_err(Part::Recalibrator.failed())?;
    Ok(Redirect::to(&back))
}
