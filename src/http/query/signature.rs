//! Signatures of requests: HMAC-SHA-256 (RFC 2104) over the path and the sorted query without `s`, until `e`, by `kid`.
//!
//! The raw pairs are signed, not the decoded ones, so that signer and server need not agree on an encoding; they are
//! sorted, so that a proxy that reorders parameters breaks nothing. Comparison takes the same time wherever it fails.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{Fault, Invalid, Pairs, digits};
use crate::telemetry::Secret;

/// A key that may have signed.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// What `kid` calls it.
    pub name: Option<String>,
    /// What is signed with.
    pub secret: Secret,
}

impl SigningKey {
    /// One that no request can name.
    pub const fn unnamed(secret: Secret) -> Self {
        Self { name: None, secret }
    }
}

/// Who may sign requests, and whether they must be signed.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// Any of them may have signed a request that names none.
    pub keys: Vec<SigningKey>,
    /// Whether what is not signed is refused.
    pub required: bool,
}

/// What a request says of its signature.
#[derive(Clone, Copy)]
pub(super) struct Given<'p> {
    pub(super) signature: Option<&'p str>,
    /// Seconds since 1970.
    pub(super) expiry: Option<&'p str>,
    /// Name of the key.
    pub(super) key: Option<&'p str>,
}

/// What a request's signature came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Passed {
    pub(in crate::http) signed: bool,
    /// Until when; nothing for ever.
    pub(in crate::http) until: Option<SystemTime>,
}

impl Passed {
    /// How long the request may be answered from `now` on.
    pub(in crate::http) fn remaining(self, now: SystemTime) -> Option<Duration> {
        self.until.map(|until| until.duration_since(now).unwrap_or_default())
    }
}

/// Checks the signature (64 hexadecimal digits, or base64url with or without padding) over `path` and `raw_query`, where
/// there is one or has to be.
///
/// # Errors
/// `signature_invalid`, with one text whatever was wrong with it; `signature_required`, `signature_expired`.
pub(super) fn verify(
    path: &str,
    raw_query: &str,
    given: Given<'_>,
    signing: &Signing,
    now: SystemTime,
) -> Result<Passed, Invalid> {
    let refused = |code, detail: &str| Err(Invalid { fault: Fault::Signature, code, detail: detail.into() });
    let Some(signature) = given.signature else {
        if signing.required {
            return refused("signature_required", "requests must be signed (signing.required): s is missing");
        }
        return match (given.expiry, given.key) {
            (None, None) => Ok(Passed::default()),
            _ => Err(Invalid::new("signature_missing", "e and kid belong to a signature, and s is missing")),
        };
    };
    let message = message(path, raw_query);
    let valid = decode(signature).is_some_and(|mac| {
        let keys = signing.keys.iter().filter(|key| given.key.is_none() || given.key == key.name.as_deref());
        // Every key is tried, so that the time does not tell which one signed.
        keys.fold(false, |valid, key| valid | matches(&key.secret, message.as_bytes(), &mac))
    });
    if !valid {
        return refused(
            "signature_invalid",
            "s is not a valid signature of this request: HMAC-SHA-256, in hex or base64url, of the path, '?' and \
             the other parameters as sent, sorted and joined by '&', with a key that is known here",
        );
    }
    let until = given.expiry.map(|text| {
        let seconds = digits::<u64>(text).map(Duration::from_secs);
        let until = seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(seconds));
        until.ok_or_else(|| Invalid::new("expiry_invalid", "e must be a time in whole seconds since 1970"))
    });
    let until = until.transpose()?;
    if until.is_some_and(|until| until <= now) {
        return refused("signature_expired", "this request was signed for a time that is over (e)");
    }
    Ok(Passed { signed: true, until })
}

/// Checks the signature of a request whose other parameters are not ours to judge, where it has to have one.
///
/// # Errors
/// As [`verify`].
pub(in crate::http) fn admit(
    pairs: &Pairs<'_>,
    path: &str,
    raw_query: &str,
    signing: &Signing,
    now: SystemTime,
) -> Result<Passed, Invalid> {
    if !signing.required {
        return Ok(Passed::default());
    }
    let once = |name: &str| {
        let mut values = pairs.iter().filter(|(known, _)| *known == name).map(|(_, value)| value);
        let (first, more) = (values.next(), values.next());
        match more {
            None => Ok(first),
            Some(_) => Err(Invalid::new("signature_repeated", format!("{name} may be given once"))),
        }
    };
    let given = Given { signature: once("s")?, expiry: once("e")?, key: once("kid")? };
    verify(path, raw_query, given, signing, now)
}

/// The same for a request with a document: `b` is its SHA-256 in hexadecimal digits, so that the signature covers it.
///
/// # Errors
/// As [`verify`], and `document_invalid` for another document than was signed.
pub(in crate::http) fn admit_document(
    pairs: &Pairs<'_>,
    (path, raw_query): (&str, &str),
    document: &[u8],
    signing: &Signing,
    now: SystemTime,
) -> Result<Passed, Invalid> {
    let passed = admit(pairs, path, raw_query, signing, now)?;
    if passed.signed {
        let digest = hex::encode(Sha256::digest(document));
        if !pairs.iter().any(|(name, value)| name == "b" && value.eq_ignore_ascii_case(&digest)) {
            let detail = "b must be the SHA-256 of the document, in hexadecimal digits, where requests must be signed";
            return Err(Invalid { fault: Fault::Signature, code: "document_invalid", detail: detail.into() });
        }
    }
    Ok(passed)
}

fn matches(key: &Secret, message: &[u8], given: &[u8]) -> bool {
    // HMAC takes keys of any length; the error is there for MACs that do not.
    Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
        .is_ok_and(|mac| mac.chain_update(message).verify_slice(given).is_ok())
}

fn message(path: &str, raw_query: &str) -> String {
    let is_signature = |pair: &str| url::form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == "s");
    let mut pairs: Vec<&str> = raw_query.split('&').filter(|pair| !pair.is_empty() && !is_signature(pair)).collect();
    pairs.sort_unstable();
    format!("{path}?{}", pairs.join("&"))
}

fn decode(signature: &str) -> Option<Vec<u8>> {
    if signature.len() == 64 {
        return hex::decode(signature).ok();
    }
    URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).ok().filter(|mac| mac.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "w=123&url=https%3A%2F%2Fa.example%2Fa.png&q=33";
    const MESSAGE: &str = "/image?q=33&url=https%3A%2F%2Fa.example%2Fa.png&w=123";
    /// Computed elsewhere: `printf '%s' MESSAGE | openssl dgst -sha256 -hmac key-one`.
    const BY_OPENSSL: &str = "d6be8ff30fa84cb1f83d0c910ca9f6390f097a1ce29b47940e04e96c88c15176";

    fn signing() -> Signing {
        let named = SigningKey { name: Some("two".into()), secret: Secret::new("key-two") };
        Signing { keys: vec![SigningKey::unnamed(Secret::new("key-one")), named], required: false }
    }

    /// Whether it is good, or the code of what is wrong.
    fn verify(path: &str, query: &str, signature: &str, signing: &Signing) -> Result<(), &'static str> {
        let pairs = Pairs::parse(query).unwrap();
        let once = |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let given = Given { signature: Some(signature), expiry: once("e"), key: once("kid") };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        super::verify(path, query, given, signing, now).map(drop).map_err(|invalid| invalid.code)
    }

    fn signed(key: &str) -> Vec<u8> {
        signed_over(key, MESSAGE)
    }

    fn signed_over(key: &str, message: &str) -> Vec<u8> {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(message);
        mac.finalize().into_bytes().to_vec()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_message_is_sorted_and_raw() {
        assert_eq!(message("/image", QUERY), MESSAGE);
        assert_eq!(message("/image", &format!("s=x&{QUERY}&%73=y&")), MESSAGE);
    }

    #[test]
    fn agrees_with_another_implementation() {
        assert_eq!(verify("/image", QUERY, BY_OPENSSL, &signing()), Ok(()));
    }

    #[test]
    fn any_key_and_both_encodings_verify() {
        for key in ["key-one", "key-two"] {
            let mac = signed(key);
            let base64 = URL_SAFE_NO_PAD.encode(&mac);
            for text in [hex(&mac), hex(&mac).to_uppercase(), base64.clone(), format!("{base64}=")] {
                assert_eq!(verify("/image", QUERY, &text, &signing()), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn everything_else_does_not() {
        let good = hex(&signed("key-one"));
        let other = hex(&signed("key-three"));
        for text in ["", "zz", "é", &good[..62], &other, &"g".repeat(64), &format!("{good}00")] {
            assert_eq!(verify("/image", QUERY, text, &signing()), Err("signature_invalid"), "{text}");
        }
        assert!(verify("/images", QUERY, &good, &signing()).is_err());
        assert!(verify("/image", &QUERY.replace("123", "124"), &good, &signing()).is_err());
        assert!(verify("/image", &format!("{QUERY}&h=5"), &good, &signing()).is_err());
        assert!(verify("/image", QUERY, &good, &Signing::default()).is_err());
    }
    #[test]
    fn a_signature_ends_when_it_says_so_and_names_its_key() {
        let of = |key: &str, more: &str| {
            let query = format!("{QUERY}&{more}");
            let signature = hex(&signed_over(key, &message("/image", &query)));
            verify("/image", &query, &signature, &signing())
        };
        assert_eq!(of("key-two", "e=1001"), Ok(()));
        assert_eq!(of("key-two", "e=1000"), Err("signature_expired"));
        assert_eq!(of("key-one", "e=soon"), Err("expiry_invalid"));
        assert_eq!(of("key-two", "kid=two"), Ok(()));
        for (key, name) in [("key-one", "two"), ("key-two", "one"), ("key-two", ""), ("key-one", "")] {
            assert_eq!(of(key, &format!("kid={name}")), Err("signature_invalid"), "{key} as {name}");
        }
        // What was signed without them cannot be given them.
        let good = hex(&signed("key-one"));
        assert_eq!(verify("/image", &format!("{QUERY}&e=2000"), &good, &signing()), Err("signature_invalid"));
    }

    #[test]
    fn where_it_is_required_nothing_goes_without() {
        let signing = Signing { required: true, ..signing() };
        let none = Given { signature: None, expiry: None, key: None };
        let now = SystemTime::UNIX_EPOCH;
        let code = |given, signing: &Signing| super::verify("/image", QUERY, given, signing, now).map_err(|e| e.code);
        assert_eq!(code(none, &signing), Err("signature_required"));
        assert_eq!(code(none, &Signing::default()), Ok(Passed::default()));
        assert_eq!(code(Given { expiry: Some("5"), ..none }, &Signing::default()), Err("signature_missing"));
        let pairs = Pairs::parse(QUERY).unwrap();
        assert_eq!(admit(&pairs, "/image", QUERY, &signing, now).map_err(|e| e.code), Err("signature_required"));
        assert_eq!(admit(&pairs, "/image", QUERY, &Signing::default(), now), Ok(Passed::default()));
    }
}
