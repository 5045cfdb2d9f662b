//! The road every call takes: one gRPC [`Server`] and one [`Channel`].
//!
//! A [`Server`] puts gRPC services and plain HTTP routes on one port, behind one tower stack (see `server/stack.rs`, meant to be read
//! top-down): a span, a net for panics, load shedding at the door, a deadline, authentication. It brings health and reflection along and
//! stops in two stages, soft and hard.
//!
//! A [`Channel`] speaks to such a server over TCP and TLS, or to one in the same process, through the same stack: the caller can't tell.
//! [`Replicas`] holds the channels of several equal servers, and [`retry`](fn@retry::retry) repeats an idempotent call. A
//! [`Watch`](watch::Watch) keeps callers told of changes over a stream.
//!
//! This crate knows no message and no principal of ours: what a credential means is said by an [`auth::Verifier`], and the principal it
//! yields rides as a request extension.
//!
//! **Invariant:** a path that is not in the public list is answered only after the verifier said yes. A verifier that can't say (its
//! database is down) means UNAVAILABLE, never yes.

pub mod auth;
pub mod channel;
mod deadline;
mod refusal;
pub mod retry;
pub mod server;
pub mod tls;
pub mod watch;

#[cfg(test)]
mod tests;

pub use channel::{Channel, Replicas};
pub use server::Server;

use std::pin::Pin;

/// A boxed future, as the type-erased seams of this crate return it.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
