//! Names of keys and channels in Redis: `pixgate:{version}:{kind}:{hash}`.
//!
//! Invariant: the version of the format is part of every name, so that replicas of two versions share one Redis without
//! seeing each other's values.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::record::{SourceKey, WishKey};
use crate::variant::VariantKey;

/// What precedes the hash of a variant; completed by a script.
pub(super) const VARIANT: &str = "pixgate:3:variant:";
/// Every purge of late, in one key, so that it is there as a whole or lost as a whole.
pub(super) const LEDGER: &str = "pixgate:3:ledger";
/// When each replica was last seen; the braces put it on the ledger's node of a Cluster.
pub(super) const REPLICAS: &str = "{pixgate:3:ledger}:replicas";
/// Where purges are told.
pub(super) const PURGE: &str = "pixgate:3:purge";
/// Where replicas tell that they have done a purge.
pub(super) const ACK: &str = "pixgate:3:ack";

pub(super) fn hash(bytes: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn source(key: &SourceKey) -> String {
    format!("pixgate:3:source:{}", hash(key.as_bytes()))
}

pub(super) fn variant(key: &VariantKey) -> String {
    format!("{VARIANT}{}", hash(key.as_bytes()))
}

/// Holds the hash of the variant that a wish came down to: a hint that saves a round trip, never the truth.
pub(super) fn wish(key: &WishKey) -> String {
    format!("pixgate:3:wish:{}", hash(key.as_bytes()))
}

pub(super) fn lease(key: &[u8; 32]) -> String {
    format!("pixgate:3:lease:{}", hash(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::codec::VERSION;

    #[test]
    fn every_name_has_the_version_of_the_format() {
        let prefix = format!("pixgate:{VERSION}:");
        let hash = [7; 32];
        let key = SourceKey::of_normalised("https://a.example/x");
        let names = [VARIANT.to_owned(), LEDGER.into(), PURGE.into(), ACK.into(), source(&key), lease(&hash)];
        assert!(names.iter().all(|name| name.starts_with(&prefix)), "{names:?}");
        assert_eq!(REPLICAS, format!("{{{LEDGER}}}:replicas"), "one slot of a Cluster for both");
        assert_eq!(lease(&hash), format!("{prefix}lease:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"));
    }
}
