//! Signatures of `/image` requests: HMAC-SHA-256 (RFC 2104) over the path and the sorted query without `s`.
//!
//! The raw pairs are signed, not the decoded ones, so that signer and server need not agree on an encoding; they are
//! sorted, so that a proxy that reorders parameters breaks nothing. Comparison takes the same time wherever it fails.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Fault, Invalid};
use crate::telemetry::Secret;

/// Checks `signature` (64 hexadecimal digits, or base64url with or without padding) over `path` and `raw_query`.
///
/// # Errors
/// `signature_invalid`, with one text whatever was wrong.
pub(super) fn verify(path: &str, raw_query: &str, signature: &str, keys: &[Secret]) -> Result<(), Invalid> {
    let message = message(path, raw_query);
    let valid = decode(signature).is_some_and(|given| {
        // Every key is tried, so that the time does not tell which one signed.
        keys.iter().fold(false, |valid, key| valid | matches(key, message.as_bytes(), &given))
    });
    if valid {
        return Ok(());
    }
    let detail = "s is not a valid signature of this request: HMAC-SHA-256, in hex or base64url, of the path, '?' and \
                  the other parameters as sent, sorted and joined by '&'";
    Err(Invalid { fault: Fault::Signature, code: "signature_invalid", detail: detail.into() })
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
    if signature.len() == 64 && signature.is_ascii() {
        let byte = |at: usize| u8::from_str_radix(&signature[at..at + 2], 16).ok();
        let hex = signature.bytes().all(|b| b.is_ascii_hexdigit());
        return hex.then(|| (0..64).step_by(2).filter_map(byte).collect());
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

    fn keys() -> Vec<Secret> {
        vec![Secret::new("key-one"), Secret::new("key-two")]
    }

    fn signed(key: &str) -> Vec<u8> {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(MESSAGE);
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
        assert_eq!(verify("/image", QUERY, BY_OPENSSL, &keys()), Ok(()));
    }

    #[test]
    fn any_key_and_both_encodings_verify() {
        for key in ["key-one", "key-two"] {
            let mac = signed(key);
            let base64 = URL_SAFE_NO_PAD.encode(&mac);
            for text in [hex(&mac), hex(&mac).to_uppercase(), base64.clone(), format!("{base64}=")] {
                assert_eq!(verify("/image", QUERY, &text, &keys()), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn everything_else_does_not() {
        let good = hex(&signed("key-one"));
        let other = hex(&signed("key-three"));
        for text in ["", "zz", "é", &good[..62], &other, &"g".repeat(64), &format!("{good}00")] {
            assert_eq!(verify("/image", QUERY, text, &keys()).map_err(|e| e.code), Err("signature_invalid"), "{text}");
        }
        assert!(verify("/images", QUERY, &good, &keys()).is_err());
        assert!(verify("/image", &QUERY.replace("123", "124"), &good, &keys()).is_err());
        assert!(verify("/image", &format!("{QUERY}&h=5"), &good, &keys()).is_err());
        assert!(verify("/image", QUERY, &good, &[]).is_err());
    }
}
