//! The calls there are, read from the descriptors.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MethodDescriptor};
use tocsin_contracts::{FILE_DESCRIPTOR_SET, PUBLIC_METHODS};
use tocsin_transport::Channel;

use crate::console::Services;

/// All of them.
pub(super) static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::read);

/// Picks a service's channel.
pub(super) type Way = fn(&Services) -> &Channel;

/// The packages whose services the console reaches, and by which channel.
const PACKAGES: [(&str, Way); 7] = [
    ("tocsin.access.v1", |services| &services.access),
    ("tocsin.fleet.v1", |services| &services.fleet),
    ("tocsin.incidents.v1", |services| &services.incidents),
    ("tocsin.recalibrator.v1", |services| &services.recalibrator),
    ("tocsin.registry.v1", |services| &services.registry),
    ("tocsin.review.v1", |services| &services.review),
    ("tocsin.training.v1", |services| &services.recalibrator),
];

/// For receivers of pages alone, by `/hooks`, with their signature.
const NOT_FOR_PROGRAMS: &str = "/tocsin.incidents.v1.IncidentsService/ReceiveHook";

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    /// As gRPC has it: `/package.Service/Method`.
    pub(super) path: String,
    pub(super) method: MethodDescriptor,
    pub(super) channel: Way,
    /// Needs no credential.
    pub(super) public: bool,
}

/// The calls, by path.
#[derive(Debug)]
pub(super) struct Catalog(BTreeMap<String, Call>);

impl Catalog {
    fn read() -> Self {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build wrote a descriptor set");
        let mut calls = BTreeMap::new();
        for service in pool.services() {
            let reached = PACKAGES.iter().find(|(package, _)| *package == service.package_name());
            let Some((_, channel)) = reached else { continue };
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                // Streams are gRPC's; open pages have `/live`.
                if method.is_client_streaming() || method.is_server_streaming() || path == NOT_FOR_PROGRAMS {
                    continue;
                }
                let call = Call {
                    public: PUBLIC_METHODS.contains(&path.as_str()),
                    path: path.clone(),
                    method,
                    channel: *channel,
                };
                calls.insert(path, call);
            }
        }
        Self(calls)
    }

    pub(super) fn find(&self, path: &str) -> Option<&Call> {
        self.0.get(path)
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_is_no_stream_is_there_but_those_between_tocsins_own_roles() {
        let inner = ["tocsin.ingest.v1", "tocsin.scorer.v1", "tocsin.ensemble.v1"];
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let left_out = inner.contains(&service.package_name())
                    || method.is_client_streaming()
                    || method.is_server_streaming()
                    || path == NOT_FOR_PROGRAMS;
                assert_eq!(CATALOG.find(&path).is_none(), left_out, "{path}");
            }
        }
    }
}
