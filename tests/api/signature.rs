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

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test]
async fn a_signed_request_ends_when_it_says_so() {
    let (origin, app, url) = started().await;
    let signed = |query: String| format!("/image?{query}&s={}", hex(&mac(NEW, "/image", &query)));
    let soon = signed(format!("url={url}&w=123&e={}", now() + 2));
    let answer = app.get(&soon).await;
    assert_eq!(answer.look().width, 123);
    let kept = answer.must("cache-control");
    assert!(["public, max-age=1, must-revalidate", "public, max-age=0, must-revalidate"].contains(&kept), "{kept}");
    assert_eq!(app.get(&soon).await.must("cache-status"), "pixgate; hit; detail=memory");
    let began = std::time::Instant::now();
    while app.get(&soon).await.status == 200 {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "it never ends");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    app.get(&soon).await.problem(403, "signature_expired");
    app.get(&signed(format!("url={url}&w=123&e=tomorrow"))).await.problem(400, "expiry_invalid");
    app.get(&format!("/image?url={url}&w=64&e={}", now() + 60)).await.problem(400, "signature_missing");
    let far = app.get(&signed(format!("url={url}&w=123&e={}", now() + 10_000_000))).await;
    assert_eq!(far.look().width, 123);
    assert_eq!(origin.total_hits(), 1);
}

#[tokio::test]
async fn a_key_is_named_and_every_request_must_be_signed() {
    let origin = Origin::with("/a.png", png(400, 200), "image/png").await;
    let keys = format!(r#"["old={OLD}", "new={NEW}"]"#);
    let app = Setup::new().set("signing.keys", keys).set("signing.required", true).start().await;
    let url = enc(&origin.url("/a.png"));
    let signed = |key: &str, path: &str, query: &str| format!("{path}?{query}&s={}", hex(&mac(key, path, query)));
    for (path, query) in [
        ("/image", format!("url={url}&w=64")),
        ("/_next/image", format!("url={url}&w=64&q=75")),
        ("/placeholder", format!("url={url}")),
    ] {
        let refused = app.get(&format!("{path}?{query}")).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("must be signed"), "{}", refused.text());
        assert_eq!(app.get(&signed(NEW, path, &query)).await.status, 200, "{path}");
        assert_eq!(app.get(&signed(NEW, path, &format!("{query}&kid=new"))).await.status, 200, "{path}");
        assert_eq!(app.get(&signed(NEW, path, &format!("{query}&kid=old"))).await.status, 403, "{path}");
        assert_eq!(app.get(&signed(NEW, path, &format!("{query}&e={}", now() - 1))).await.status, 403, "{path}");
        assert_eq!(app.get(&signed(NEW, path, &format!("{query}&e={}", now() + 60))).await.status, 200, "{path}");
    }
    let list = format!(r#"{{"urls":["{}"]}}"#, origin.url("/a.png"));
    let digest = <Sha256 as sha2::Digest>::digest(list.as_bytes());
    let posted = async |target: &str, list: &str| {
        crate::harness::client::request(app.public, "POST", target, &[], list.as_bytes()).await.expect("an answer")
    };
    posted("/placeholders", &list).await.problem(403, "signature_required");
    let target = signed(NEW, "/placeholders", &format!("b={}", hex(&digest)));
    assert_eq!(posted(&target, &list).await.json()[0]["width"], 400);
    posted(&target, &list.replace("a.png", "b.png")).await.problem(403, "document_invalid");
    posted(&signed(NEW, "/placeholders", ""), &list).await.problem(403, "document_invalid");
    assert_eq!(origin.hits("/b.png"), 0);
}

#[tokio::test]
async fn crops_come_from_their_list_or_are_signed() {
    let origin = Origin::with("/a.png", png(400, 200), "image/png").await;
    let app = Setup::new()
        .set("images.signing_keys", format!("[\"{NEW}\"]"))
        .set("images.crops", r#"["64x48", "120x63"]"#)
        .start()
        .await;
    let url = enc(&origin.url("/a.png"));
    for fit in ["cover", "contain", "fill"] {
        assert_eq!(app.get(&format!("/image?url={url}&w=64&h=48&fit={fit}")).await.look().size(), (64, 48));
        let other = format!("url={url}&w=64&h=96&fit={fit}");
        let told = app.get(&format!("/image?{other}")).await.problem(400, "crop_not_allowed");
        assert!(told.contains("64x48"), "{told}");
        let s = hex(&mac(NEW, "/image", &other));
        assert_eq!(app.get(&format!("/image?{other}&s={s}")).await.status, 200);
    }
    // Of edges that are in no other list.
    assert_eq!(app.get(&format!("/image?url={url}&w=120&h=63&fit=cover")).await.look().size(), (120, 63));
    assert_eq!(app.get(&format!("/image?url={url}&w=60&h=31.5&dpr=2&fit=cover")).await.status, 400);
    app.get(&format!("/image?url={url}&w=120&h=63")).await.problem(400, code::WIDTH_NOT_ALLOWED);
    for rest in ["w=64&h=96", "w=64&fit=cover", "h=96&fit=cover"] {
        assert_eq!(app.get(&format!("/image?url={url}&{rest}")).await.status, 200, "{rest}");
    }
}
