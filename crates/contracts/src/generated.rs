//! The compiler's output, one module per service.

/// All contracts with their comments, as an encoded `google.protobuf.FileDescriptorSet`: what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tocsin.descriptors.bin"));

macro_rules! service {
    ($(#[$doc:meta])* $visibility:vis $name:ident, $package:literal) => {
        $(#[$doc])*
        $visibility mod $name {
            /// Version 1 of the contract.
            #[expect(missing_docs, clippy::pedantic, reason = "generated; the contract's comments are its documentation")]
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

service!(
    /// Sign-in, accounts and gateway tokens.
    pub access,
    "tocsin.access.v1"
);
service!(
    /// Judging and committing.
    pub(crate) ensemble,
    "tocsin.ensemble.v1"
);
service!(
    /// Sites, machines, devices, sensors, classes and specs.
    pub fleet,
    "tocsin.fleet.v1"
);
service!(
    /// Incidents and their pages.
    pub(crate) incidents,
    "tocsin.incidents.v1"
);
service!(
    /// Readings come in.
    pub(crate) ingest,
    "tocsin.ingest.v1"
);
service!(
    /// Threshold sets.
    pub recalibrator,
    "tocsin.recalibrator.v1"
);
service!(
    /// Model versions and what judges each class.
    pub(crate) registry,
    "tocsin.registry.v1"
);
service!(
    /// Series and spectra of what was judged.
    pub review,
    "tocsin.review.v1"
);
service!(
    /// The autoencoder's side of judging.
    pub(crate) scorer,
    "tocsin.scorer.v1"
);
service!(
    /// Training jobs, and models compared.
    pub training,
    "tocsin.training.v1"
);
