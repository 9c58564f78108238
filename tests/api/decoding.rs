//! Hostile and odd bytes (threat-model.md, decoding): bombs, garbage, wrong labels, SVG, metadata, the render deadline.
//! Law: each gets its answer and the process lives; what cannot be decoded is never passed through; what is served is
//! what we encoded ourselves.

use std::time::{Duration, Instant};

use image::ImageFormat;

use crate::harness::app::{App, Setup, image, next};
use crate::harness::code;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{
    self, RED, animated_gif, animated_webp, assert_colour, decoded, gif_frame_bomb, jpeg, png, png_header_only,
    webp_frames,
};

const NOT_VALID: &str = "The requested resource isn't a valid image.";

/// A 4xx problem that says the picture is too much, and whose body is not the picture.
async fn too_large(app: &App, url: &str) {
    let answer = app.image(url, "w=64&f=webp").await;
    assert!((400..500).contains(&answer.status), "{url}: {}", answer.status);
    answer.problem(answer.status, code::IMAGE_TOO_LARGE);
}

#[tokio::test]
async fn bombs_are_refused_by_their_header() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let before = app.resident_bytes();
    let mut jpeg_bomb = jpeg(64, 64);
    // SOF0: marker, length, precision, then height and width.
    let sof = jpeg_bomb.windows(2).position(|w| w == [0xFF, 0xC0]).expect("a baseline JPEG");
    jpeg_bomb[sof + 5..sof + 9].copy_from_slice(&[0xFF; 4]);
    for (path, bomb) in [
        ("/bomb.png", png_header_only(60_000, 50_000)),
        ("/line.png", png_header_only(u32::MAX >> 1, 1)),
        ("/bomb.jpg", jpeg_bomb),
        ("/frames.gif", gif_frame_bomb(9_000, 9_000, 300)),
        ("/canvas.gif", gif_frame_bomb(65_535, 65_535, 2)),
    ] {
        origin.set(path, Reply::new(bomb, "image/png"));
        let started = Instant::now();
        too_large(&app, &origin.url(path)).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{path} took {:?}", started.elapsed());
    }
    assert!(app.resident_bytes() < before + 64_000_000, "{before} -> {}", app.resident_bytes());
}

#[tokio::test]
async fn limits_are_inclusive_and_configurable() {
    let origin = Origin::with("/fits.png", png(400, 250), "image/png").await;
    origin.set("/over.png", Reply::new(png(401, 250), "image/png"));
    origin.set("/fits.gif", Reply::new(animated_gif(40, 20, 6), "image/gif"));
    origin.set("/over.gif", Reply::new(animated_gif(40, 20, 7), "image/gif"));
    origin.set("/over.webp", Reply::new(animated_webp(40, 20, 7), "image/webp"));
    let app = Setup::new().set("images.max_pixels", 100_000).set("images.max_frames", 6).start().await;
    assert_eq!(app.image(&origin.url("/fits.png"), "w=64&f=webp").await.look().width, 64);
    let animated = app.image(&origin.url("/fits.gif"), "w=16&f=webp").await;
    assert_eq!((animated.look().size(), webp_frames(&animated.body)), ((16, 8), 6));
    for path in ["/over.png", "/over.gif", "/over.webp"] {
        too_large(&app, &origin.url(path)).await;
    }
}

#[tokio::test]
async fn undecodable_bytes_are_never_passed_through() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let mut garbage = vec![0xFF, 0xD8, 0xFF];
    garbage.extend((0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    let (jpg, png_file) = (jpeg(400, 200), png(400, 200));
    let webp = pictures::encoded(&pictures::busy(400, 200, 1), ImageFormat::WebP);
    let gif = pictures::encoded(&pictures::busy(200, 100, 1), ImageFormat::Gif);
    for (path, bytes) in [
        ("/garbage.jpg", garbage),
        ("/cut.jpg", jpg[..jpg.len() / 2].to_vec()),
        ("/cut.png", png_file[..png_file.len() / 2].to_vec()),
        ("/cut.webp", webp[..webp.len() / 2].to_vec()),
        ("/cut.gif", gif[..gif.len() / 3].to_vec()),
        ("/magic.png", b"\x89PNG\r\n\x1a\n".to_vec()),
        ("/magic.gif", b"GIF89a/*<script>alert(1)</script>*/=1".to_vec()),
        ("/magic.webp", b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0garbage garbage garbage".to_vec()),
        ("/magic.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miafMA1Band then nothing".to_vec()),
        ("/magic.bmp", b"BM and then nothing of the kind at all, only text".to_vec()),
        ("/magic.tif", b"II*\0\xff\xff\xff\xff".to_vec()),
        ("/magic.ico", b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0\xff\xff\xff\x0f\x16\0\0\0".to_vec()),
    ] {
        origin.set(path, Reply::new(bytes.clone(), "image/jpeg"));
        for target in [image(&origin.url(path), "w=64"), next(&origin.url(path), 64, 75)] {
            let answer = app.get_with(&target, &[("accept", "image/webp")]).await;
            assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
            assert_ne!(answer.body, bytes, "{path}");
            assert_eq!(answer.must("cache-control"), "no-store", "{path}");
        }
    }
    assert!(app.lives().await);
}

#[tokio::test]
async fn labels_are_not_believed() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    origin.set("/page.jpg", Reply::new(*b"<html><script>alert(1)</script></html>", "image/jpeg"));
    app.next(&origin.url("/page.jpg"), 64, 75).await.plain(400, NOT_VALID);
    app.image(&origin.url("/page.jpg"), "w=64").await.problem(415, code::NOT_AN_IMAGE);
    // A picture with a page glued to it comes out as a picture alone.
    let mut polyglot = jpeg(80, 40);
    polyglot.extend_from_slice(b"<script>alert(1)</script>");
    origin.set("/poly.html", Reply::new(polyglot, "text/html"));
    for f in ["jpeg", "webp", "png"] {
        let answer = app.image(&origin.url("/poly.html"), &format!("w=64&f={f}")).await;
        assert!(answer.look().mime.ends_with(f));
        assert!(!answer.text().contains("<script"), "{f}");
        assert_eq!(answer.must("x-content-type-options"), "nosniff");
        assert_eq!(answer.must("content-disposition"), format!("inline; filename=\"poly.{f}\""));
    }
}

#[tokio::test]
async fn metadata_does_not_come_out() {
    let mut file = pictures::oriented(&jpeg(300, 200), 1);
    // A comment segment after SOI, such as cameras and editors leave.
    let comment = b"secret-place 48.2082N 16.3738E";
    let mut segment = vec![0xFF, 0xFE, 0, comment.len() as u8 + 2];
    segment.extend_from_slice(comment);
    file.splice(2..2, segment);
    let origin = Origin::with("/a.jpg", file, "image/jpeg").await;
    let app = Setup::new().start().await;
    for rest in ["w=64&f=jpeg", "w=384&f=jpeg", "f=jpeg", "w=64&f=webp", "w=64&f=png", "w=64&f=avif"] {
        let text = app.image(&origin.url("/a.jpg"), rest).await.text();
        assert!(!text.contains("secret-place") && !text.contains("Exif\0\0MM"), "{rest}");
    }
}

const SVG: &str = r##"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="200" height="100"><script>alert(1)</script><rect width="200" height="100" fill="#d6282c"/>
 <image width="9" height="9" xlink:href="ORIGIN"/><image width="9" height="9" href="file:///etc/passwd"/></svg>"##;

#[tokio::test]
async fn svg_is_refused_unless_allowed_and_then_rasterised() {
    let origin = Origin::start().await;
    let svg = SVG.replace("ORIGIN", &origin.url("/inner.png"));
    origin.set("/inner.png", Reply::new(png(9, 9), "image/png"));
    origin.set("/a.svg", Reply::new(svg.into_bytes(), "image/svg+xml"));
    let url = origin.url("/a.svg");
    let closed = Setup::new().start().await;
    closed.image(&url, "w=64").await.problem(415, code::TYPE_NOT_ALLOWED);
    let open = Setup::new().set("images.allow_svg", true).start().await;
    for (accept, mime) in [("image/webp", "image/webp"), ("*/*", "image/png"), ("image/svg+xml", "image/png")] {
        for target in [image(&url, "w=64"), next(&url, 64, 75)] {
            let answer = open.get_with(&target, &[("accept", accept)]).await;
            assert_eq!((answer.look().mime, answer.look().size()), (mime, (64, 32)), "{accept}");
            assert_colour(&decoded(&answer.body), (50, 50), RED, 12);
        }
    }
    assert_eq!(origin.hits("/inner.png"), 0, "a picture may not fetch");
    // A picture that grows from a few bytes without end, and one that is a gigapixel on its own word.
    let laughs: String =
        (1..24).map(|n| format!("<g id=\"g{n}\"><use href=\"#g{0}\"/><use href=\"#g{0}\"/></g>", n - 1)).collect();
    let bomb = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><defs><rect id=\"g0\" width=\"1\" height=\"1\"/>{laughs}</defs><use href=\"#g23\"/></svg>"
    );
    let huge = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900000\" height=\"900000\"><rect width=\"9\" height=\"9\"/></svg>";
    for (path, svg) in [
        ("/laughs.svg", bomb.as_str()),
        ("/huge.svg", huge),
        ("/bad.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><g>"),
    ] {
        origin.set(path, Reply::new(svg.as_bytes(), "image/svg+xml"));
        let started = Instant::now();
        let answer = open.image(&origin.url(path), "w=64").await;
        assert!(answer.status == 200 || (400..=504).contains(&answer.status), "{path}: {}", answer.status);
        assert!(started.elapsed() < Duration::from_secs(20), "{path} took {:?}", started.elapsed());
    }
    assert!(open.lives().await);
}

#[tokio::test]
async fn the_render_deadline_holds_and_frees_the_worker() {
    let origin =
        Origin::with("/huge.jpg", pictures::encoded(&pictures::busy(4000, 3000, 5), ImageFormat::Jpeg), "image/jpeg")
            .await;
    origin.set("/small.png", Reply::new(png(40, 20), "image/png"));
    let app = Setup::new().text("limits.render_timeout", "150ms").start().await;
    let started = Instant::now();
    let answer = app.image(&origin.url("/huge.jpg"), "w=3840&f=avif&q=90").await;
    assert!(matches!(answer.status, 503 | 504), "{}", answer.status);
    assert_eq!(answer.must("cache-control"), "no-store");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // What was abandoned may not hold the service.
    let mut small = app.image(&origin.url("/small.png"), "w=16&f=png").await;
    while small.status != 200 && started.elapsed() < Duration::from_secs(60) {
        small = app.image(&origin.url("/small.png"), "w=16&f=png").await;
    }
    assert_eq!(small.look().width, 16);
}
