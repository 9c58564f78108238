//! Proof that a value was written by a service that has the key, for a Redis that others can write to.
//!
//! Invariant: with a key, **what it did not write is no value**: neither a value of another name, nor a purge. Without one,
//! whoever may write to Redis is trusted.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::cache::codec::Damage;
use crate::telemetry::Secret;

/// Bytes of a proof: half of the hash, which nobody can guess.
const PROOF: usize = 16;

/// What seals values and rules, where there is a key.
#[derive(Clone)]
pub(super) struct Integrity(Option<Hmac<Sha256>>);

impl Integrity {
    pub(super) fn new(key: Option<&Secret>) -> Self {
        // HMAC takes keys of any length; the error is there for MACs that do not.
        Self(key.and_then(|key| Hmac::new_from_slice(key.expose().as_bytes()).ok()))
    }

    /// `value` of the key `name`, with its proof behind it.
    pub(super) fn seal(&self, name: &str, mut value: Vec<u8>) -> Vec<u8> {
        if let Some(proof) = self.proof(name, &value) {
            value.extend_from_slice(&proof);
        }
        value
    }

    /// The value without its proof.
    ///
    /// # Errors
    /// [`Damage::Forged`] when it is not of this name by this key.
    pub(super) fn open(&self, name: &str, sealed: &Bytes) -> Result<Bytes, Damage> {
        if self.0.is_none() {
            return Ok(sealed.clone());
        }
        let end = sealed.len().checked_sub(PROOF).ok_or(Damage::Forged)?;
        self.check(name, &sealed[..end], &sealed[end..]).then(|| sealed.slice(..end)).ok_or(Damage::Forged)
    }

    /// A rule as it is told: text, as everything in the ledger is.
    pub(super) fn seal_rule(&self, rule: &Bytes) -> Bytes {
        match self.proof(RULE, rule) {
            Some(proof) => {
                let mut sealed = hex::encode(proof).into_bytes();
                sealed.extend_from_slice(rule);
                sealed.into()
            }
            None => rule.clone(),
        }
    }

    /// The rule without its proof; nothing when it is not by this key.
    pub(super) fn open_rule(&self, sealed: &Bytes) -> Option<Bytes> {
        if self.0.is_none() {
            return Some(sealed.clone());
        }
        let (proof, rule) = sealed.split_at_checked(2 * PROOF)?;
        let proof = hex::decode(proof).ok()?;
        self.check(RULE, rule, &proof).then(|| sealed.slice(2 * PROOF..))
    }

    fn mac(&self, name: &str, value: &[u8]) -> Option<Hmac<Sha256>> {
        let length = (name.len() as u64).to_be_bytes();
        Some(self.0.clone()?.chain_update(length).chain_update(name).chain_update(value))
    }

    fn proof(&self, name: &str, value: &[u8]) -> Option<[u8; PROOF]> {
        let whole = self.mac(name, value)?.finalize().into_bytes();
        whole.first_chunk().copied()
    }

    fn check(&self, name: &str, value: &[u8], proof: &[u8]) -> bool {
        self.mac(name, value).is_some_and(|mac| mac.verify_truncated_left(proof).is_ok())
    }
}

/// Stands for the name of a key: no key is called so.
const RULE: &str = "rule";

#[cfg(test)]
mod tests {
    use super::*;

    fn integrity(key: &str) -> Integrity {
        Integrity::new(Some(&Secret::new(key)))
    }

    #[test]
    fn a_value_is_of_its_name_and_by_its_key() {
        let (ours, theirs, none) = (integrity("ours"), integrity("theirs"), Integrity::new(None));
        let sealed = Bytes::from(ours.seal("name", b"value".to_vec()));
        assert_eq!(ours.open("name", &sealed), Ok(Bytes::from_static(b"value")));
        for (opens, name, value) in [
            (&ours, "other", sealed.clone()),
            (&theirs, "name", sealed.clone()),
            (&ours, "name", sealed.slice(1..)),
            (&ours, "name", sealed.slice(..sealed.len() - 1)),
            (&ours, "name", Bytes::from_static(b"value")),
            (&ours, "name", Bytes::new()),
            // A shorter proof is none.
            (&ours, "name", Bytes::from(ours.seal("name", Vec::new())).slice(..8)),
        ] {
            assert_eq!(opens.open(name, &value), Err(Damage::Forged), "{value:?}");
        }
        assert_eq!(none.seal("name", b"value".to_vec()), b"value");
        assert_eq!(none.open("name", &sealed), Ok(sealed));
    }

    #[test]
    fn a_rule_is_by_its_key() {
        let (ours, theirs, none) = (integrity("ours"), integrity("theirs"), Integrity::new(None));
        let rule = Bytes::from_static(b"hard:all");
        let sealed = ours.seal_rule(&rule);
        assert_eq!(ours.open_rule(&sealed), Some(rule.clone()));
        assert!(sealed.is_ascii());
        for forged in [rule.clone(), theirs.seal_rule(&rule), sealed.slice(..31), Bytes::new()] {
            assert_eq!(ours.open_rule(&forged), None, "{forged:?}");
        }
        assert_eq!((none.seal_rule(&rule), none.open_rule(&rule)), (rule.clone(), Some(rule)));
    }
}
