//! The console: web pages for the people who look after the machines.
//!
//! A request's road: `security` (same origin, headers) → [`session`] (the cookie's token, or the way to sign in) → a page in
//! `pages`, which asks the services over gRPC and renders HTML on the server. Charts fetch their numbers from `data`; `live` tells
//! open pages that something changed, and they fetch themselves again. Programs ask [`api`] in JSON. Scripts, styles and charts are compiled in (`assets`).
//!
//! **Invariant:** the console has no privilege of its own. Every call it makes shows the token of the person who looks; what they
//! may see and do is decided by the services. The [`Services`] channels must carry no credential.
//!
//! **Invariant:** a machine without fresh data is never shown as healthy.

mod api;
mod assets;
mod compress;
mod config;
mod console;
mod data;
mod failure;
mod hooks;
mod layout;
mod live;
mod pages;
mod rebuilding;
mod routes;
mod security;
mod session;
mod view;

pub use config::{Config, Error};
pub use console::{Services, bind, build, run};
pub use pages::review::document as review_document;
pub use routes::{Door, ROUTES, Route};
