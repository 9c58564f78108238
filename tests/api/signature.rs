//! Signed `/image` requests: HMAC-SHA-256 over the path, `?` and the raw `key=value` pairs without `s`, sorted and
//! joined with `&`; hex or base64url. Law: the tests compute the signature themselves from the published recipe, and
//! a wrong one is refused even where the unsigned request would be allowed.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::harness::app::{App, Setup};
use crate::harness::client::enc;
use crate::harness::code;
use crate::harness::origin::Origin;
use crate::harness::pictures::png;

const OLD: &str = "the-old-signing-key-of-at-least-32-bytes";
const NEW: &str = "the-new-signing-key-of-at-least-32-bytes";

fn mac(key: &str, path: &str, query: &str) -> Vec<u8> {
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(format!("{path}?{}", pairs.join("&")).as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn started() -> (Origin, App, String) {
    let origin = Origin::with("/a.png", png(400, 200), "image/png").await;
    let app = Setup::new().set("images.signing_keys", format!("[\"{NEW}\", \"{OLD}\"]")).start().await;
    let url = enc(&origin.url("/a.png"));
    (origin, app, url)
}

#[tokio::test]
async fn a_signature_allows_any_size_and_quality() {
    let (_origin, app, url) = started().await;
    // Not in sorted order on purpose: the order of the request does not matter.
    let query = format!("w=123&url={url}&q=33&f=webp");
    for key in [NEW, OLD] {
        let mac = mac(key, "/image", &query);
        for s in [
            hex(&mac),
            hex(&mac).to_uppercase(),
            URL_SAFE_NO_PAD.encode(&mac),
            URL_SAFE.encode(&mac).replace('=', "%3D"),
        ] {
            let answer = app.get(&format!("/image?{query}&s={s}")).await;
            let seen = answer.look();
            assert_eq!((seen.mime, seen.width), ("image/webp", 123), "{s}");
        }
        let first = format!("/image?s={}&{query}", hex(&mac));
        assert_eq!(app.get(&first).await.status, 200, "its place does not matter");
    }
}

#[tokio::test]
async fn anything_else_is_403() {
    let (origin, app, url) = started().await;
    let query = format!("url={url}&w=123&q=33");
    let good = hex(&mac(NEW, "/image", &query));
    let stranger = hex(&mac("a-key-that-was-never-configured-here", "/image", &query));
    let mut flipped = good.clone();
    flipped.replace_range(0..1, if good.starts_with('0') { "1" } else { "0" });
    for s in [stranger.as_str(), flipped.as_str(), &good[..62], "", "zz", &hex(&mac(NEW, "/placeholder", &query))] {
        app.get(&format!("/image?{query}&s={s}")).await.problem(403, code::SIGNATURE_INVALID);
    }
    // The signature covers every parameter.
    for changed in [format!("url={url}&w=124&q=33"), format!("url={url}&w=123&q=34"), format!("{query}&h=50")] {
        app.get(&format!("/image?{changed}&s={good}")).await.problem(403, code::SIGNATURE_INVALID);
    }
    // A bad signature is refused even on a request that needs none.
    app.get(&format!("/image?url={url}&w=64&s={good}")).await.problem(403, code::SIGNATURE_INVALID);
    // Twice is not once.
    app.get(&format!("/image?{query}&s={good}&s={good}")).await.problem(400, "signature_repeated");
    assert_eq!(origin.total_hits(), 0);
    // Unsigned requests keep to the lists.
    app.get(&format!("/image?{query}")).await.problem(400, code::WIDTH_NOT_ALLOWED);
    assert_eq!(app.get(&format!("/image?url={url}&w=64")).await.status, 200);
}

#[tokio::test]
async fn a_signature_does_not_lift_the_hard_limits_or_the_allow_list() {
    let (origin, app, url) = started().await;
    let signed = async |query: String| {
        let s = hex(&mac(NEW, "/image", &query));
        app.get(&format!("/image?{query}&s={s}")).await
    };
    signed(format!("url={url}&w=123&q=101")).await.problem(400, "quality_invalid");
    assert_eq!(signed(format!("url={url}&w=1000000")).await.status, 400);
    let elsewhere = enc("http://other.example/a.png");
    signed(format!("url={elsewhere}&w=123")).await.problem(403, code::URL_NOT_ALLOWED);
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn without_keys_a_signature_cannot_be_valid() {
    let origin = Origin::with("/a.png", png(400, 200), "image/png").await;
    let app = Setup::new().start().await;
    let query = format!("url={}&w=64", enc(&origin.url("/a.png")));
    let s = hex(&mac("", "/image", &query));
    app.get(&format!("/image?{query}&s={s}")).await.problem(403, code::SIGNATURE_INVALID);
}
