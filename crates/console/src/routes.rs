//! Every route there is, in one table: the router is built from it, and tests walk it.

use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;

use crate::console::App;
use crate::{api, assets, data, hooks, live, pages};

/// Whom a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Whoever is signed in; a stranger is sent to sign in.
    Session,
    /// Anyone, with a page: the way to sign in.
    SignIn,
    /// Whoever has a page's own link, with a page or a picture.
    Link,
    /// Receivers of pages, whose posts carry a signature.
    Hook,
    /// Programs that show a session or a token, in JSON.
    Api,
    /// Anyone, with what is compiled in.
    Assets,
}

/// A method of a path, and what answers it.
#[derive(Debug)]
pub struct Route {
    /// Whom it answers.
    pub door: Door,
    /// The method.
    pub method: Method,
    /// The path, with `{name}` where anything may stand.
    pub path: &'static str,
    pub(crate) handler: fn() -> MethodRouter<App>,
}

macro_rules! routes {
    ($($door:ident $method:ident $path:literal => $handler:path;)*) => {
        /// All of them.
        pub static ROUTES: &[Route] = &[$(Route {
            door: Door::$door,
            method: Method::$method,
            path: $path,
            handler: || on(MethodFilter::$method, $handler),
        }),*];
    };
}

routes! {
    Session GET "/" => pages::fleet::show;
    Session GET "/start" => pages::start::show;
    Session GET "/start/live" => pages::start::stream;
    SignIn GET "/login" => pages::login::show;
    SignIn POST "/login" => pages::login::sign_in;
    SignIn GET "/login/oidc" => pages::oidc::go;
    SignIn GET "/login/oidc/callback" => pages::oidc::back;
    Session POST "/logout" => pages::login::sign_out;
    Session GET "/account" => pages::account::show;
    Session GET "/incidents" => pages::incidents::show;
    Session POST "/incidents/filters" => pages::incidents::filters::save;
    Session POST "/incidents/filters/delete" => pages::incidents::filters::delete;
    Session GET "/incidents/performance" => pages::performance::show;
    Session GET "/incidents/{id}" => pages::incident::show;
    Session POST "/incidents/{id}/acknowledge" => pages::incident::acknowledge;
    Session POST "/incidents/{id}/comment" => pages::incident::people::comment;
    Session POST "/incidents/{id}/work-order" => pages::incident::people::order_work;
    Session POST "/incidents/{id}/hand-over" => pages::incident::people::hand_over;
    Session GET "/incidents/{id}/review" => pages::review::show;
    Session POST "/incidents/{id}/review" => pages::review::save;
    Session POST "/incidents/{id}/review/reopen" => pages::review::reopen;
    Session POST "/incidents/{id}/review/label" => pages::review::label;
    Session POST "/incidents/{id}/review/comment" => pages::review::comment;
    Session GET "/incidents/{id}/review/{file}" => pages::review::export;
    Session GET "/floods" => pages::floods::show;
    Session GET "/floods/{id}" => pages::floods::one;
    Session POST "/floods/{id}/acknowledge" => pages::floods::acknowledge;
    Session GET "/suppressions" => pages::suppressions::show;
    Session GET "/suppressions/{id}" => pages::suppressions::one;
    Session GET "/sensors" => pages::sensors::show;
    Session POST "/sensors/alarms/{id}/acknowledge" => pages::sensors::acknowledge;
    Link GET "/acknowledge/{token}" => pages::acknowledge::show;
    Link POST "/acknowledge/{token}" => pages::acknowledge::take;
    Link GET "/pictures/{token}" => pages::acknowledge::picture;
    Hook POST "/hooks/pagerduty" => hooks::pager_duty;
    Hook POST "/hooks/slack" => hooks::slack;
    Session GET "/audit" => pages::audit::show;
    Session GET "/models" => pages::models::show;
    Session GET "/models/{class}" => pages::models::class::show;
    Session GET "/models/{class}/bundles/{bundle}/report.html" => pages::models::report::download;
    Session POST "/models/{class}/promote" => pages::models::orders::promote;
    Session POST "/models/{class}/challenger" => pages::models::orders::challenge;
    Session POST "/models/{class}/rollback" => pages::models::orders::roll_back;
    Session POST "/models/{class}/retrain" => pages::models::orders::retrain;
    Session GET "/limits" => pages::limits::show;
    Session GET "/limits/{id}" => pages::limits::set::show;
    Session POST "/limits/{id}/test" => pages::limits::orders::test;
    Session POST "/limits/{id}/approve" => pages::limits::orders::approve;
    Session POST "/limits/{id}/activate" => pages::limits::orders::activate;
    Session POST "/limits/{id}/rollback" => pages::limits::orders::roll_back;
    Session POST "/sites/{site}/second-approval" => pages::limits::second::set;
    Session GET "/system" => pages::system::show;
    Session POST "/system/deliveries/{id}/resend" => pages::system::resend;
    Session GET "/sites/{site}/machines/{machine}" => pages::machine::show;
    Session POST "/sites/{site}/machines/{machine}/suppress" => pages::machine::suppression::suppress;
    Session POST "/sites/{site}/machines/{machine}/restore" => pages::machine::suppression::restore;
    Session GET "/sites/{site}/machines/{machine}/series" => data::series::show;
    Session GET "/sites/{site}/machines/{machine}/spectrogram" => data::spectrogram::show;
    Session GET "/sites/{site}/machines/{machine}/spectrum" => data::spectrum::show;
    Session GET "/sites/{site}/machines/{machine}/verdict" => pages::verdict::show;
    Api POST "/api/v1/{service}/{method}" => api::call;
    Assets GET "/api/v1/openapi.json" => api::description;
    Session GET "/live" => live::stream;
    // A route rather than a fallback, which the server under us would not keep.
    Session GET "/{*path}" => pages::unknown;
    Assets GET "/assets/{hash}/{name}" => assets::serve;
    Assets GET "/favicon.ico" => assets::favicon;
}
