//! `/_next/image` after validation: headers (nextjs-contract.md 2.1), conditional requests and HEAD (2.2), negotiation (2.3),
//! source types with the deliberate improvements (2.4), upstream errors (1.3), lifetimes.
//! Law: statuses and texts are Next.js's own; where Pixgate does better on purpose, the better is asserted.

use image::ImageFormat;

use crate::harness::app::{App, Setup, next};
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{
    self, animated_gif, animated_webp, half_transparent, jpeg, png, quadrants, webp_frames,
};

const WEBP: &[(&str, &str)] = &[("accept", "image/webp,image/*,*/*;q=0.8")];
const NOT_VALID: &str = "The requested resource isn't a valid image.";
const UPSTREAM: &str = r#""url" parameter is valid but upstream response is invalid"#;

async fn with(path: &str, file: Vec<u8>) -> (Origin, App) {
    // The label lies on purpose everywhere: the type comes from the bytes.
    (Origin::with(path, file, "text/html").await, Setup::new().start().await)
}

#[tokio::test]
async fn the_headers_of_a_200() {
    // Next.js knows no second, better version.
    let app = Setup::new().set("avif.progressive", false).start().await;
    let origin = Origin::with("/photo.jpg", jpeg(800, 400), "text/html").await;
    let miss = app.next(&origin.url("/photo.jpg"), 640, 75).await;
    let hit = app.next(&origin.url("/photo.jpg"), 640, 75).await;
    for (answer, cache) in [(&miss, "MISS"), (&hit, "HIT")] {
        assert_eq!((answer.look().mime, answer.look().size()), ("image/webp", (640, 320)));
        assert_eq!(answer.must("x-nextjs-cache"), cache);
        assert_eq!(answer.must("vary"), "Accept");
        assert_eq!(answer.must("cache-control"), "public, max-age=2592000, must-revalidate");
        assert_eq!(answer.must("content-length"), answer.body.len().to_string());
        assert_eq!(answer.must("content-disposition"), "inline; filename=\"photo.webp\"");
        assert!(answer.must("content-security-policy").contains("sandbox"));
        assert_eq!(answer.must("x-content-type-options"), "nosniff");
        let tag = answer.must("etag");
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 4, "{tag}");
    }
    assert_eq!(miss.must("etag"), hit.must("etag"));
}

#[tokio::test]
async fn file_names_are_made_from_the_last_segment() {
    let (origin, app) = with("/", png(100, 50)).await;
    for (path, name) in [
        ("/file.name.dots.png", "file.webp"),
        ("/a/b/plain", "plain.webp"),
        ("/a/b/?v=1", "image.bin"),
        ("/", "image.bin"),
        ("/pic.php?id=7", "pic.webp"),
    ] {
        origin.set(path, Reply::new(png(100, 50), "image/png"));
        let answer = app.next(&origin.url(path), 64, 75).await;
        assert_eq!(answer.must("content-disposition"), format!("inline; filename=\"{name}\""), "{path}");
    }
    origin.set("/caf%C3%A9.png", Reply::new(png(100, 50), "image/png"));
    let answer = app.next(&origin.url("/café.png"), 64, 75).await;
    let disposition = answer.must("content-disposition");
    assert!(disposition.is_ascii() && disposition.contains("filename*=UTF-8''caf%C3%A9.webp"), "{disposition}");
    // A file name cannot break out of the header.
    origin.set("/a%22%3Bb%0d%0ax.png", Reply::new(png(100, 50), "image/png"));
    let answer = app.next(&origin.url("/a%22%3Bb%0d%0ax.png"), 64, 75).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.must("content-disposition").matches('"').count(), 2, "{:?}", answer.headers);
}

#[tokio::test]
async fn conditional_requests() {
    let (origin, app) = with("/a.png", png(100, 50)).await;
    let target = next(&origin.url("/a.png"), 64, 75);
    let first = app.get(&target).await;
    let tag = first.must("etag").to_owned();
    let bare = tag.trim_matches('"').to_owned();
    let matching = [
        tag.clone(),
        format!("W/{tag}"),
        bare.clone(),
        format!("W/{bare}"),
        "*".to_owned(),
        format!("\"a\", {tag} , \"b\""),
    ];
    for known in &matching {
        let answer = app.get_with(&target, &[("if-none-match", known)]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        for name in ["vary", "cache-control", "etag"] {
            assert_eq!(answer.must(name), first.must(name));
        }
        let reload = app.get_with(&target, &[("if-none-match", known), ("cache-control", "no-cache")]).await;
        assert_eq!((reload.status, &reload.body), (200, &first.body), "no-cache disables 304");
    }
    for other in ["\"nope\"", "nope", ""] {
        assert_eq!(app.get_with(&target, &[("if-none-match", other)]).await.status, 200, "{other}");
    }
    let head = app.send("HEAD", &target, &[]).await;
    assert_eq!((head.status, head.body.len(), head.must("content-length")), (200, 0, first.must("content-length")));
    assert_eq!(app.get_with(&target, &[("range", "bytes=0-9")]).await.body, first.body, "ranges are ignored");
}

#[tokio::test]
async fn negotiates_in_the_order_of_the_configuration() {
    let (origin, app) = with("/a.jpg", jpeg(200, 100)).await;
    let target = next(&origin.url("/a.jpg"), 64, 75);
    for (accept, mime) in [
        ("image/webp,image/avif", "image/avif"),
        ("image/avif,image/webp,image/apng,*/*", "image/avif"),
        ("image/avif;q=0.5, image/webp;q=0.9", "image/webp"),
        ("image/avif;q=0,image/webp", "image/webp"),
        ("image/*,*/*", "image/jpeg"),
        ("*/*", "image/jpeg"),
        ("nonsense", "image/jpeg"),
    ] {
        let answer = app.get_with(&target, &[("accept", accept)]).await;
        assert_eq!((answer.look().mime, answer.must("vary")), (mime, "Accept"), "{accept}");
    }
    assert_eq!(app.get(&target).await.look().mime, "image/jpeg");
    let reversed = Setup::new().set("images.formats", r#"["webp", "avif"]"#).start().await;
    let answer = reversed.get_with(&target, &[("accept", "image/avif,image/webp")]).await;
    assert_eq!(answer.look().mime, "image/webp");
    let only = Setup::new().set("images.formats", r#"["webp"]"#).start().await;
    assert_eq!(only.get_with(&target, &[("accept", "image/avif")]).await.look().mime, "image/jpeg");
}

#[tokio::test]
async fn still_pictures_of_every_type_are_resized() {
    let (origin, app) = with("/x", png(8, 8)).await;
    let opaque = quadrants(200, 100);
    for (name, format, fallback) in [
        ("/a.jpg", ImageFormat::Jpeg, &["image/jpeg"][..]),
        ("/a.png", ImageFormat::Png, &["image/png"]),
        ("/a.gif", ImageFormat::Gif, &["image/gif", "image/png", "image/jpeg"]),
        ("/a.webp", ImageFormat::WebP, &["image/jpeg"]),
        ("/a.bmp", ImageFormat::Bmp, &["image/png", "image/jpeg"]),
        ("/a.tif", ImageFormat::Tiff, &["image/png", "image/jpeg"]),
        ("/a.ico", ImageFormat::Ico, &["image/png", "image/jpeg"]),
    ] {
        origin.set(name, Reply::new(pictures::encoded(&opaque, format), "text/html"));
        let answer = app.next(&origin.url(name), 64, 75).await;
        assert_eq!((answer.look().mime, answer.look().size()), ("image/webp", (64, 32)), "{name}");
        let plain = app.get(&next(&origin.url(name), 64, 75)).await;
        assert!(fallback.contains(&plain.look().mime), "{name}: {}", plain.look().mime);
    }
    origin.set("/clear.webp", Reply::new(pictures::encoded(&half_transparent(200, 100), ImageFormat::WebP), "x/y"));
    assert_eq!(app.get(&next(&origin.url("/clear.webp"), 64, 75)).await.look().mime, "image/png");
}

#[tokio::test]
async fn animations_stay_animations() {
    let (gif, webp) = (animated_gif(200, 100, 5), animated_webp(200, 100, 5));
    let (origin, app) = with("/a.gif", gif.clone()).await;
    origin.set("/a.webp", Reply::new(webp.clone(), "image/webp"));
    for path in ["/a.gif", "/a.webp"] {
        let target = next(&origin.url(path), 64, 75);
        for accept in ["image/webp,*/*", "image/avif,image/webp"] {
            let answer = app.get_with(&target, &[("accept", accept)]).await;
            assert_eq!((answer.look().mime, answer.look().size()), ("image/webp", (64, 32)), "{path} {accept}");
            assert_eq!(webp_frames(&answer.body), 5, "{path}");
        }
        // A client that takes no WebP gets the original as it is.
        let answer = app.get(&target).await;
        assert_eq!(answer.body, if path == "/a.gif" { &gif[..] } else { &webp[..] }, "{path}");
        answer.look();
    }
}

#[tokio::test]
async fn what_is_no_picture_is_400() {
    let (origin, app) = with("/x", png(8, 8)).await;
    for (name, bytes) in [
        ("/pdf", b"%PDF-1.7\n1 0 obj".to_vec()),
        ("/text", b"just a text that is long enough to be sniffed".to_vec()),
        ("/html", b"<!doctype html><html><body><img src=x></body></html>".to_vec()),
        ("/psd", b"8BPS\0\x01\0\0\0\0\0\0\0\x03".to_vec()),
        ("/smuggled", b"<!--ftypavif--><script>alert(1)</script>".to_vec()),
    ] {
        origin.set(name, Reply::new(bytes, "image/jpeg"));
        app.next(&origin.url(name), 64, 75).await.plain(400, NOT_VALID);
    }
    origin.set("/a.svg", Reply::new(*b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/png"));
    let text = r#""url" parameter is valid but image type is not allowed"#;
    app.next(&origin.url("/a.svg"), 64, 75).await.plain(400, text);
    origin.set("/empty", Reply::new(*b"", "image/png"));
    app.next(&origin.url("/empty"), 64, 75).await.plain(400, UPSTREAM);
}

#[tokio::test]
async fn upstream_errors_keep_their_status() {
    let (origin, app) = with("/x", png(8, 8)).await;
    for status in [400, 401, 403, 404, 410, 418, 429, 500, 502, 503] {
        let path = format!("/{status}");
        origin.set(&path, Reply::status(status));
        app.next(&origin.url(&path), 64, 75).await.plain(status, UPSTREAM);
    }
    for (path, reply) in [("/304", Reply::status(304)), ("/301", Reply::status(301)), ("/399", Reply::status(399))] {
        origin.set(path, reply);
        app.next(&origin.url(path), 64, 75).await.plain(500, UPSTREAM);
    }
    // The same from the app itself has the other text.
    let local = Setup::new().text("sources.base_url", &origin.url("")).start().await;
    local.next("/404", 64, 75).await.plain(404, r#""url" parameter is valid but internal response is invalid"#);
}

#[tokio::test]
async fn lifetimes_come_from_the_source_and_the_floor() {
    let (origin, app) = with("/x", png(8, 8)).await;
    let floor = Setup::new().text("images.minimum_cache_ttl", "60s").set("avif.progressive", false).start().await;
    for (name, upstream, seconds) in [
        ("/none", "", 60),
        ("/short", "max-age=5", 60),
        ("/long", "public, max-age=7200", 7200),
        ("/shared", "max-age=100, s-maxage=9000", 9000),
        ("/quoted", "MAX-AGE=\"700\"", 700),
        ("/nonsense", "max-age=soon", 60),
    ] {
        origin.set(name, Reply::new(png(100, 50), "image/png").header("cache-control", upstream));
        for _ in ["MISS", "HIT"] {
            let answer = floor.next(&origin.url(name), 64, 75).await;
            let expected = format!("public, max-age={seconds}, must-revalidate");
            assert_eq!(answer.must("cache-control"), expected, "{name}: {upstream}");
        }
    }
    // A build's own hashed files never change.
    for path in ["/_next/static/media/a.0123abcd.png", "/_next/static/immutable/media/a.png"] {
        origin.set(path, Reply::new(png(100, 50), "image/png"));
        let setup = || Setup::new().text("sources.base_url", &origin.url(""));
        let answer = setup().set("avif.progressive", false).start().await.next(path, 64, 75).await;
        assert_eq!(answer.must("cache-control"), "public, max-age=315360000, immutable", "{path}");
        let interim = setup().start().await.next(path, 64, 75).await;
        assert_eq!(interim.must("cache-control"), "public, max-age=60, must-revalidate", "{path}");
    }
    assert!(app.lives().await);
}

#[tokio::test]
async fn neighbouring_requests_never_share_an_entry() {
    // Next.js concatenates url, width and quality without separators, so these two collide there.
    let (origin, app) = with("/a.png", png(3000, 30)).await;
    let wide = app.next(&origin.url("/a.png?v="), 2048, 75).await;
    let narrow = app.next(&origin.url("/a.png?v=20"), 48, 75).await;
    assert_eq!((wide.look().width, narrow.look().width), (2048, 48));
    assert_eq!(narrow.must("x-nextjs-cache"), "MISS");
    let other_quality = app.next(&origin.url("/a.png?v="), 2048, 90).await;
    assert_eq!(other_quality.must("x-nextjs-cache"), "MISS");
}

#[tokio::test]
async fn never_larger_than_the_original_of_that_type_and_size() {
    let mut file = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 8)
        .encode_image(&pictures::busy(320, 200, 3))
        .expect("the test picture encodes");
    let (origin, app) = with("/a.jpg", file.clone()).await;
    let answer = app.get(&next(&origin.url("/a.jpg"), 640, 90)).await;
    assert_eq!((answer.look().mime, answer.look().size()), ("image/jpeg", (320, 200)));
    assert!(answer.body.len() <= file.len(), "{} > {}", answer.body.len(), file.len());
    assert_eq!(app.get_with(&next(&origin.url("/a.jpg"), 64, 75), WEBP).await.look().width, 64);
}
