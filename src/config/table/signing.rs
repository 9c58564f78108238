//! The keys of signed requests: `images.signing_keys` and `[signing]`.
//!
//! Invariant: a key is shown nowhere; of a key with a name, the name is.

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{key, secret};
use crate::http::query::SigningKey;

/// Longest name of a key.
const NAME: usize = 32;

/// Stands in the section of images.
pub(super) const UNNAMED: Key = secret(
    "images.signing_keys",
    Kind::Texts,
    |d, v| {
        let unnamed = read::list(v, |text| read::secret(text.into()).map(SigningKey::unnamed))?;
        put(&mut d.config.http.sizes.signing.keys, unnamed, false);
        Ok(())
    },
    |d| Shown::list(&of(&d.config.http.sizes.signing.keys, false), |_| "***".into()),
);

pub(super) const KEYS: &[Key] = &[
    secret(
        "signing.keys",
        Kind::Texts,
        |d, v| {
            let named = read::list(v, named)?;
            let mut names: Vec<_> = named.iter().filter_map(|key| key.name.as_deref()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("has two keys of the name {}", twice[0]));
            }
            put(&mut d.config.http.sizes.signing.keys, named, true);
            Ok(())
        },
        |d| {
            let named = of(&d.config.http.sizes.signing.keys, true);
            Shown::list(&named, |key| format!("{}=***", key.name.unwrap_or_default()).into())
        },
    ),
    key(
        "signing.required",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.http.sizes.signing.required = b),
        |d| Some(d.config.http.sizes.signing.required.into()),
    ),
];

/// `NAME=SECRET`; the secret may hold more of them.
fn named(text: &str) -> Result<SigningKey, String> {
    let expected = || format!("must be NAME=SECRET, its name 1 to {NAME} letters, digits, -, _ or .");
    let (name, secret) = text.split_once('=').ok_or_else(expected)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME || !name.bytes().all(plain) {
        return Err(expected());
    }
    Ok(SigningKey { name: Some(name.into()), secret: read::secret(secret.into())? })
}

/// Replaces the keys that have a name, or those that have none.
fn put(keys: &mut Vec<SigningKey>, new: Vec<SigningKey>, named: bool) {
    keys.retain(|key| key.name.is_some() != named);
    keys.extend(new);
}

fn of(keys: &[SigningKey], named: bool) -> Vec<SigningKey> {
    keys.iter().filter(|key| key.name.is_some() == named).cloned().collect()
}
