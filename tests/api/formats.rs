//! Formats that browsers do not all show: JPEG XL is drawn, HEIC where it is allowed, and what is not drawn here is passed
//! on to clients of Next.js as Next.js does. Law: passed on is only what was read as a container whole, and never by `/image`.

use std::path::Path;

use crate::harness::app::{App, Setup, image, next};
use crate::harness::client::{Response, enc};
use crate::harness::origin::{Origin, Reply};

const NOT_AN_IMAGE: &str = "The requested resource isn't a valid image.";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images").join(name)).expect("a fixture")
}

fn offer(origin: &Origin, name: &str, bytes: Vec<u8>) -> String {
    origin.set(&format!("/{name}"), Reply::new(bytes, "application/octet-stream"));
    origin.url(&format!("/{name}"))
}

fn assert_passed_on(answer: &Response, bytes: &[u8], mime: &str) {
    assert_eq!((answer.status, answer.must("content-type")), (200, mime), "{}", answer.text());
    assert!(answer.body == bytes, "not the source's own bytes");
    assert_eq!(answer.must("x-content-type-options"), "nosniff");
    assert_eq!(answer.must("content-security-policy"), "default-src 'none'; sandbox");
}

async fn next_of(app: &App, url: &str) -> Response {
    app.get_with(&next(url, 64, 75), &[("accept", "image/avif,image/webp")]).await
}

#[tokio::test]
async fn what_is_never_drawn_is_passed_on_to_clients_of_next_only() {
    let origin = Origin::start().await;
    for (name, mime) in [("opaque.heic", "image/heic"), ("alpha.heic", "image/heic"), ("icon.icns", "image/x-icns")] {
        let app = Setup::new().start().await;
        let bytes = fixture(name);
        let url = offer(&origin, name, bytes.clone());
        // A refusal elsewhere, before and after, is not held against the source.
        let told = app.get(&image(&url, "w=64")).await.problem(415, "format_not_decoded");
        assert_eq!(told.contains("images.allow_heic"), name.ends_with(".heic"), "{told}");
        app.get(&format!("/placeholder?url={}", enc(&url))).await.problem(415, "format_not_decoded");
        let first = next_of(&app, &url).await;
        assert_passed_on(&first, &bytes, mime);
        let again = next_of(&app, &url).await;
        assert_passed_on(&again, &bytes, mime);
        assert_eq!(again.must("x-nextjs-cache"), "HIT");
        app.get(&image(&url, "w=64&f=webp")).await.problem(415, "format_not_decoded");
        app.get(&image(&url, "w=64&f=webp")).await.problem(415, "format_not_decoded");

        let etag = again.must("etag").to_owned();
        let known =
            app.get_with(&next(&url, 64, 75), &[("accept", "image/avif,image/webp"), ("if-none-match", &etag)]).await;
        assert_eq!((known.status, known.body.len()), (304, 0), "{name}");
        let head = app.send("HEAD", &next(&url, 64, 75), &[("accept", "image/avif,image/webp")]).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{name}");
        assert_eq!(head.must("content-length"), bytes.len().to_string());
        assert_eq!(origin.hits(&format!("/{name}")), 1, "{name} was fetched more than once");
    }
}

#[tokio::test]
async fn what_is_not_whole_is_not_passed_on() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let heic = fixture("opaque.heic");
    let icns = fixture("icon.icns");
    let cut = |bytes: &[u8]| bytes[..bytes.len() - 20].to_vec();
    let cases = [
        ("cut.heic", cut(&heic)),
        ("head.heic", heic[..40].to_vec()),
        ("html.heic", [&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], b"<html><script>alert(1)</script>"].concat()),
        ("cut.icns", cut(&icns)),
        ("longer.icns", [icns.as_slice(), b"<script>alert(1)</script>"].concat()),
        ("html.icns", b"icns\0\0\0\x28ic07<html><script>alert(1)</script>".to_vec()),
    ];
    for (name, bytes) in cases {
        let answer = next_of(&app, &offer(&origin, name, bytes)).await;
        answer.plain(400, NOT_AN_IMAGE);
    }
}

#[tokio::test]
async fn heic_is_drawn_where_it_is_allowed() {
    let origin = Origin::start().await;
    let app = Setup::new().set("images.allow_heic", true).start().await;
    for name in
        ["opaque.heic", "yuv420.heic", "odd-51x37.heic", "alpha.heic", "grey.heic", "p3.heic", "orientation-6.heic"]
    {
        let bytes = fixture(name);
        let url = offer(&origin, name, bytes.clone());
        assert_eq!(next_of(&app, &url).await.look().mime, "image/avif", "{name}");
        let width = if name == "odd-51x37.heic" { 51 } else { 64 };
        assert_eq!(app.image(&url, "w=64&f=webp").await.look().width, width, "{name}");
        let url = offer(&origin, &format!("cut-{name}"), bytes[..bytes.len() - 9].to_vec());
        app.get(&image(&url, "w=64")).await.problem(422, "undecodable");
    }
    let url = offer(&origin, "icon.icns", fixture("icon.icns"));
    app.get(&image(&url, "w=64")).await.problem(415, "format_not_decoded");
}

#[tokio::test]
async fn jpeg_xl_is_drawn_and_refused_when_it_is_cut() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    for name in ["opaque.jxl", "lossy.jxl", "alpha.jxl", "grey.jxl", "sixteen.jxl", "float.jxl", "p3.jxl"] {
        let bytes = fixture(name);
        let url = offer(&origin, name, bytes.clone());
        assert_eq!(next_of(&app, &url).await.look().mime, "image/avif", "{name}");
        assert_eq!(app.image(&url, "w=64&f=png").await.look().width, 64, "{name}");
        for end in [20, bytes.len() / 2, bytes.len() - 2] {
            let url = offer(&origin, &format!("cut-{end}-{name}"), bytes[..end].to_vec());
            app.get(&image(&url, "w=64")).await.problem(422, "undecodable");
        }
    }
    // Its first frame needs the first frame only.
    let url = offer(&origin, "animated.jxl", fixture("animated.jxl"));
    assert_eq!(app.image(&url, "f=png").await.look().size(), (64, 48));
}
