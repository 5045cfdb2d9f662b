//! Every RPC there is, read from the descriptors, so that no list of them can be forgotten.

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::FILE_DESCRIPTOR_SET;

/// The methods that need no credential; every other one does.
pub const PUBLIC_METHODS: &[&str] = &[
    "/tocsin.access.v1.AccessService/SignIn",
    "/tocsin.access.v1.AccessService/ListSignInMethods",
    "/tocsin.access.v1.AccessService/BeginOidcSignIn",
    "/tocsin.access.v1.AccessService/CompleteOidcSignIn",
    // What a page's link or a receiver's post says carries its own signature.
    "/tocsin.incidents.v1.IncidentsService/GetAcknowledgeLink",
    "/tocsin.incidents.v1.IncidentsService/AcknowledgeByLink",
    "/tocsin.incidents.v1.IncidentsService/GetPagePicture",
    "/tocsin.incidents.v1.IncidentsService/ReceiveHook",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// The paths of all methods of Tocsin's own contracts, as `/package.Service/Method`.
///
/// # Panics
/// Never: the descriptors are compiled in.
pub fn methods() -> Vec<String> {
    let descriptors = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build wrote a descriptor set");
    let mut methods = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                methods.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tonic::server::NamedService;

    use super::*;
    use crate::{access, ensemble, fleet, incidents, ingest, recalibrator, registry, review, scorer, training};

    fn name_of<S: NamedService>() -> &'static str {
        S::NAME
    }

    #[test]
    fn every_method_belongs_to_a_service_that_this_crate_generates() {
        let generated = BTreeSet::from([
            name_of::<access::v1::access_service_server::AccessServiceServer<()>>(),
            name_of::<ensemble::v1::ensemble_service_server::EnsembleServiceServer<()>>(),
            name_of::<fleet::v1::fleet_service_server::FleetServiceServer<()>>(),
            name_of::<incidents::v1::incidents_service_server::IncidentsServiceServer<()>>(),
            name_of::<incidents::v1::sensor_alarms_service_server::SensorAlarmsServiceServer<()>>(),
            name_of::<ingest::v1::ingest_service_server::IngestServiceServer<()>>(),
            name_of::<recalibrator::v1::recalibrator_service_server::RecalibratorServiceServer<()>>(),
            name_of::<registry::v1::registry_service_server::RegistryServiceServer<()>>(),
            name_of::<review::v1::review_service_server::ReviewServiceServer<()>>(),
            name_of::<scorer::v1::scorer_service_server::ScorerServiceServer<()>>(),
            name_of::<training::v1::training_service_server::TrainingServiceServer<()>>(),
        ]);
        let methods = methods();
        let described: BTreeSet<&str> = methods
            .iter()
            .map(|path| path[1..].split_once('/').expect("a path has two parts").0)
            .collect();
        assert_eq!(described, generated);
    }

    #[test]
    fn the_public_methods_of_our_contracts_exist() {
        let methods = methods();
        for public in PUBLIC_METHODS.iter().filter(|path| path.starts_with("/tocsin.")) {
            assert!(methods.iter().any(|path| path == public), "{public} is in no contract");
        }
    }
}
