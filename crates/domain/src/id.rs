//! Names and numbers of things. Numbers are the database's; people and gateways use [`Slug`]s.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A plant.
    SiteId(i32);
    /// A machine of a site.
    MachineId(i32);
    /// One channel: a measurement point, a direction, one spectrum specification.
    SensorId(i32);
    /// Machines of the same construction with the same measuring set-up.
    ClassId(i32);
    /// A registered [`crate::SpectrumSpec`].
    SpecId(i32);
    /// One immutable model version, by its number in the registry.
    BundleId(i32);
    /// One immutable set of alarm limits.
    ThresholdSetId(i32);
    /// What a sensor looked like in one commissioning epoch.
    BaselineId(i32);
    /// A build of the scorer, on certain kernels.
    ScorerBuildId(i32);
    /// A request to fit a class's models anew.
    TrainingJobId(i32);
    /// A gateway's access token.
    TokenId(i32);
    /// A person's local account.
    AccountId(i32);
    /// An incident of a machine.
    IncidentId(i64);
    /// A time in which a machine's pages are kept from people.
    SuppressionId(i64);
    /// Many machines at once, to one recipient of pages.
    FloodId(i64);
}

impl ClassId {
    /// The class of canaries, whose readings show that Tocsin itself works: made with the schema, and in no list.
    pub const CANARY: Self = Self(-1);
}

impl SpecId {
    /// What the sensors of canaries declare: made with the schema, and in no list.
    pub const CANARY: Self = Self(-1);
}

/// A name that people type and URLs carry: 1 to 63 of `a-z 0-9 - _ .`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 63;

    /// Parses a name; `field` is what the error calls it.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.len() > Self::MAX_LEN || !starts_well || !text.bytes().all(legal) {
            return Err(Invalid::new(
                field,
                format!(
                    "{text:?} is not a name: 1 to 63 of a-z, 0-9, '-', '_' and '.', starting with a letter or digit"
                ),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Slug {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse("name", text)
    }
}

impl TryFrom<String> for Slug {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse("name", &text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

/// SHA-256 of a bundle's canonical file listing: the address of a model version in object storage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleDigest(pub [u8; 32]);

impl BundleDigest {
    /// Reads 32 raw bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        let bytes = bytes
            .try_into()
            .map_err(|_| Invalid::new("digest", format!("must be 32 bytes, got {}", bytes.len())))?;
        Ok(Self(bytes))
    }

    /// The first 12 hexadecimal digits, enough for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleDigest({})", self.short())
    }
}

impl FromStr for BundleDigest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes =
            hex::decode(text).map_err(|e| Invalid::new("digest", format!("{text:?} is not hexadecimal: {e}")))?;
        Self::from_slice(&bytes)
    }
}

impl TryFrom<String> for BundleDigest {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<BundleDigest> for String {
    fn from(digest: BundleDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_refuses_what_a_url_or_a_path_would_misread() {
        for bad in ["", "-a", "a/b", "A", "a b", "..", &"x".repeat(64)] {
            let error = Slug::parse("machine", bad).unwrap_err();
            assert_eq!(error.field, "machine", "{bad:?}");
        }
        for good in ["1797_b_14_de48", "bearing1_1", "drive-end.h"] {
            assert_eq!(Slug::parse("machine", good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_digest_survives_text_and_json() {
        let digest = BundleDigest(std::array::from_fn(|i| i as u8));
        assert_eq!(digest.to_string().parse::<BundleDigest>().unwrap(), digest);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<BundleDigest>(&json).unwrap(), digest);
        assert_eq!("zz".parse::<BundleDigest>().unwrap_err().field, "digest");
    }
}
