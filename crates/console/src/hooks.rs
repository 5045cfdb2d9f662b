//! What receivers of pages post back: handed on as it came, with the headers that sign it, to the service that has the
//! secrets.

use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use tocsin_contracts::incidents::v1::ReceiveHookRequest;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tonic::Code;

use crate::console::App;

/// `POST /hooks/pagerduty`: a V3 webhook.
pub(crate) async fn pager_duty(State(app): State<App>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = text(&headers, "x-pagerduty-signature");
    hand_on(&app, "pagerduty", body, (signature, String::new())).await
}

/// `POST /hooks/slack`: a button was pressed.
pub(crate) async fn slack(State(app): State<App>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = text(&headers, "x-slack-signature");
    let timestamp = text(&headers, "x-slack-request-timestamp");
    hand_on(&app, "slack", body, (signature, timestamp)).await
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn hand_on(app: &App, receiver: &str, body: Bytes, (signature, timestamp): (String, String)) -> StatusCode {
    let request = ReceiveHookRequest {
        receiver: receiver.to_owned(),
        body: body.into(),
        signature,
        timestamp,
    };
    let mut client = IncidentsServiceClient::new(app.services.incidents.clone());
    match client.receive_hook(request).await {
        Ok(_) => StatusCode::OK,
        Err(status) if status.code() == Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Err(status) => {
            tracing::warn!(receiver, code = ?status.code(), message = status.message(), "a receiver's post could not be heeded");
            // Whoever posted tries again.
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
