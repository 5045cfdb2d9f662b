//! The parts a process can play.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One service of the platform; a process runs one or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes readings from gateways.
    Ingest,
    /// Runs the autoencoders.
    Scorer,
    /// Judges readings and commits them.
    Ensemble,
    /// Makes and activates threshold sets.
    Recalibrator,
    /// Keeps bundles, assets, accounts and tokens.
    Registry,
    /// Delivers pages and serves incidents.
    Pager,
    /// Serves series and spectra of what was judged.
    Review,
    /// The web pages.
    Console,
    /// Fits models anew when that is asked for.
    #[cfg(feature = "trainer")]
    Trainer,
}

impl Role {
    /// Every role: what `tocsin up` runs.
    pub const ALL: [Self; 8 + cfg!(feature = "trainer") as usize] = [
        Self::Registry,
        Self::Scorer,
        Self::Ensemble,
        Self::Ingest,
        Self::Recalibrator,
        Self::Pager,
        Self::Review,
        Self::Console,
        #[cfg(feature = "trainer")]
        Self::Trainer,
    ];

    /// The name on the command line and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Scorer => "scorer",
            Self::Ensemble => "ensemble",
            Self::Recalibrator => "recalibrator",
            Self::Registry => "registry",
            Self::Pager => "pager",
            Self::Review => "review",
            Self::Console => "console",
            #[cfg(feature = "trainer")]
            Self::Trainer => "trainer",
        }
    }

    /// Whether it works on Postgres. Those that don't run without a database URL.
    pub fn needs_store(self) -> bool {
        !matches!(self, Self::Scorer | Self::Console)
    }

    /// Whether it reads or writes bundles in object storage.
    pub fn needs_objects(self) -> bool {
        matches!(
            self,
            Self::Scorer | Self::Ensemble | Self::Recalibrator | Self::Registry | Self::Review
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_on_the_command_line_is_the_name_in_logs() {
        for role in Role::ALL {
            assert_eq!(Role::from_str(role.as_str(), false), Ok(role));
        }
        assert_eq!(Role::ALL.len(), Role::value_variants().len());
    }
}
