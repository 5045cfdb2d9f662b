//! The settings of this role.

use serde::{Deserialize, Serialize};

use crate::{access, bundles, fleet, verify};

/// Settings of the registry, each with a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sign-in and tokens.
    pub access: access::Config,
    /// What is shown of the fleet.
    pub fleet: fleet::Config,
    /// Pushing bundles and watching bindings.
    pub bundles: bundles::Config,
    /// The child process that tries pushed bundles.
    pub verify: verify::Config,
}
