//! What is kept, for how long, and what it says about itself: Cache-Status, lifetimes, stale-while-revalidate by
//! conditional request, stale-if-error, negative records, content addressing.
//! Law: judged by the origin's counters and `pixgate_renders_total`; time is waited for only where a lifetime must end.

use std::time::Duration;

use crate::harness::app::{App, Setup};
use crate::harness::code;
use crate::harness::origin::{Origin, Reply, eventually};
use crate::harness::pictures::{self, BLUE, RED, assert_colour, decoded, jpeg, png};

/// Just past the lifetime of one second that these tests configure.
async fn expire() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

fn short_lived() -> Setup {
    Setup::new().text("images.minimum_cache_ttl", "1s")
}

async fn renders(app: &App) -> f64 {
    app.metric("pixgate_renders_total").await
}

/// Asks until the answer is a hit again, which the refresh behind brings about.
async fn until_hit(app: &App, url: &str) -> crate::harness::client::Response {
    for _ in 0..200 {
        let answer = app.image(url, "w=64&f=png").await;
        if answer.must("cache-status").contains("detail=memory") {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the refresh never landed");
}

#[tokio::test]
async fn a_stale_source_is_served_and_revalidated_behind() {
    let origin = Origin::start().await;
    let app = short_lived().start().await;
    for (path, name, value, condition) in [
        ("/tag.png", "etag", "\"v1\"", "if-none-match"),
        ("/date.png", "last-modified", "Wed, 21 Oct 2015 07:28:00 GMT", "if-modified-since"),
    ] {
        origin.set(path, Reply::new(png(200, if name == "etag" { 100 } else { 102 }), "image/png").header(name, value));
        let url = origin.url(path);
        let first = app.image(&url, "w=64&f=png").await;
        assert!(first.must("cache-status").contains("fwd=miss"), "{:?}", first.headers);
        let rendered = renders(&app).await;
        expire().await;
        let stale = app.image(&url, "w=64&f=png").await;
        assert_eq!((stale.status, &stale.body), (200, &first.body));
        assert!(stale.must("cache-status").contains("stale"), "{:?}", stale.headers);
        eventually("the conditional request", || origin.hits(path) == 2).await;
        let second = &origin.received(path)[1];
        assert_eq!((second.header(condition), second.unchanged), (Some(value), true), "{:?}", second.headers);
        let hit = until_hit(&app, &url).await;
        assert_eq!(hit.must("etag"), first.must("etag"));
        assert!((renders(&app).await - rendered).abs() < 0.5, "304 costs no encode");
        assert_eq!(origin.hits(path), 2);
    }
}

#[tokio::test]
async fn next_path_says_stale_and_then_hit() {
    let origin = Origin::with("/a.png", png(200, 100), "image/png").await;
    let app = short_lived().start().await;
    let url = origin.url("/a.png");
    assert_eq!(app.next(&url, 64, 75).await.must("x-nextjs-cache"), "MISS");
    assert_eq!(app.next(&url, 64, 75).await.must("x-nextjs-cache"), "HIT");
    expire().await;
    assert_eq!(app.next(&url, 64, 75).await.must("x-nextjs-cache"), "STALE");
    eventually("the refresh", || origin.hits("/a.png") == 2).await;
}

#[tokio::test]
async fn equal_bytes_need_no_encode_and_new_bytes_do() {
    let origin = Origin::with("/a.png", png(200, 100), "image/png").await;
    let app = short_lived().start().await;
    let url = origin.url("/a.png");
    let first = app.image(&url, "w=64&f=png").await;
    let rendered = renders(&app).await;
    expire().await;
    app.image(&url, "w=64&f=png").await;
    // No validators: the refresh downloads, finds the same bytes, and keeps every variant.
    eventually("the refresh", || origin.hits("/a.png") == 2).await;
    assert_eq!(until_hit(&app, &url).await.body, first.body);
    assert!((renders(&app).await - rendered).abs() < 0.5);
    // The picture changes: first the old one once more, then the new one.
    let blue = image::DynamicImage::ImageRgb8(image::RgbImage::from_pixel(200, 100, image::Rgb(BLUE)));
    origin.set("/a.png", Reply::new(pictures::encoded(&blue, image::ImageFormat::Png), "image/png"));
    expire().await;
    let stale = app.image(&url, "w=64&f=png").await;
    assert_colour(&decoded(&stale.body), (20, 20), RED, 10);
    let mut fresh = until_hit(&app, &url).await;
    for _ in 0..100 {
        if fresh.must("etag") != first.must("etag") {
            break;
        }
        fresh = until_hit(&app, &url).await;
    }
    assert_colour(&decoded(&fresh.body), (20, 20), BLUE, 10);
    assert_ne!(fresh.must("etag"), first.must("etag"));
}

#[tokio::test]
async fn a_failing_origin_leaves_the_stale_picture_standing() {
    let origin = Origin::with("/a.png", png(200, 100), "image/png").await;
    let app = short_lived().text("cache.stale_while_revalidate", "0s").text("cache.stale_if_error", "1h").start().await;
    let url = origin.url("/a.png");
    let first = app.image(&url, "w=64&f=png").await;
    for failure in [Reply::status(500), Reply::closed(), Reply::new(*b"<html>oops</html>", "text/html")] {
        origin.set("/a.png", failure);
        expire().await;
        let answer = app.image(&url, "w=64&f=png").await;
        assert_eq!((answer.status, &answer.body), (200, &first.body));
        assert!(answer.must("cache-status").contains("stale"), "{:?}", answer.headers);
    }
    // Without that grace, the error shows.
    origin.set("/b.png", Reply::new(png(202, 100), "image/png"));
    let strict =
        short_lived().text("cache.stale_while_revalidate", "0s").text("cache.stale_if_error", "0s").start().await;
    assert_eq!(strict.image(&origin.url("/b.png"), "w=64").await.status, 200);
    origin.set("/b.png", Reply::status(500));
    expire().await;
    strict.image(&origin.url("/b.png"), "w=64").await.problem(502, code::SOURCE_FAILED);
}

#[tokio::test]
async fn a_missing_source_is_remembered_for_a_short_while() {
    let origin = Origin::start().await;
    let app = Setup::new().text("cache.negative_ttl", "1s").start().await;
    for (path, status) in [("/gone.png", 404), ("/gone-for-good.png", 410)] {
        let url = origin.url(path);
        origin.set(path, Reply::status(status));
        for w in [64, 64, 128] {
            app.image(&url, &format!("w={w}")).await.problem(status, code::SOURCE_NOT_FOUND);
        }
        assert_eq!(app.next(&url, 64, 75).await.status, status, "the upstream's own status on this path");
        assert_eq!(origin.hits(path), 1, "asked once for all four");
        // It appears.
        origin.set(path, Reply::new(png(100, 50), "image/png"));
        expire().await;
        assert_eq!(app.image(&url, "w=64&f=png").await.look().width, 64);
        assert_eq!(origin.hits(path), 2);
    }
}

#[tokio::test]
async fn requests_that_are_refused_leave_nothing_behind() {
    let origin = Origin::with("/page", *b"<html>no picture</html>", "image/png").await;
    let app = Setup::new().text("cache.negative_ttl", "1s").start().await;
    let url = origin.url("/page");
    app.image(&url, "w=64").await.problem(415, code::NOT_AN_IMAGE);
    origin.set("/page", Reply::new(png(100, 50), "image/png"));
    expire().await;
    assert_eq!(app.image(&url, "w=64&f=png").await.look().width, 64);
}

#[tokio::test]
async fn equal_pictures_under_two_urls_share_the_encode() {
    let origin = Origin::with("/a.jpg", jpeg(400, 200), "image/jpeg").await;
    origin.set("/b.jpg", Reply::new(jpeg(400, 200), "image/jpeg"));
    let app = Setup::new().start().await;
    let first = app.image(&origin.url("/a.jpg"), "w=64&f=webp").await;
    let rendered = renders(&app).await;
    for url in [origin.url("/b.jpg"), origin.url("/a.jpg?signature=abc")] {
        let other = app.image(&url, "w=64&f=webp").await;
        assert_eq!((other.must("etag"), &other.body), (first.must("etag"), &first.body));
    }
    assert_eq!(origin.total_hits(), 3);
    assert!((renders(&app).await - rendered).abs() < 0.5, "one picture, one encode");
}

#[tokio::test]
async fn equal_wishes_in_other_words_share_the_entry() {
    let origin = Origin::with("/a%20b.jpg", jpeg(400, 200), "image/jpeg").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a%20b.jpg");
    app.image(&url, "w=128&f=webp").await.look();
    for (url, rest) in [
        (url.clone(), "w=128&f=webp&q=75"),
        (url.clone(), "w=64&dpr=2&f=webp"),
        (url.clone(), "fit=inside&format=webp&width=128"),
        (url.replace("http://", "HTTP://"), "w=128&f=webp"),
        (format!("{url}#fragment"), "w=128&f=webp"),
        (url.replace("/a", "/x/../a"), "w=128&f=webp"),
    ] {
        let answer = app.image(&url, rest).await;
        assert!(answer.must("cache-status").contains("hit"), "{url} {rest}: {:?}", answer.headers);
    }
    assert_eq!(origin.total_hits(), 1);
    assert!((renders(&app).await - 1.0).abs() < 0.5);
    // And other wishes do not.
    for rest in [
        "w=128&f=webp&q=50",
        "w=64&f=webp",
        "w=128&f=jpeg",
        "w=128&h=32&f=webp&fit=fill",
        "w=128&h=128&f=webp&fit=contain&bg=000000",
        "w=128&h=128&f=webp&fit=contain&bg=ffffff",
    ] {
        let answer = app.image(&url, rest).await;
        assert!(answer.must("cache-status").contains("fwd=miss"), "{rest}: {:?}", answer.headers);
    }
    assert_eq!(origin.total_hits(), 1, "the source's bytes were kept for a while");
}

#[tokio::test]
async fn memory_is_bounded_by_its_budget() {
    let origin = Origin::start().await;
    let app = Setup::new().text("cache.memory_bytes", "200kB").text("cache.source_bytes", "200kB").start().await;
    for n in 0..60_u32 {
        let path = format!("/{n}.png");
        let file = pictures::encoded(&pictures::busy(160, 100, n), image::ImageFormat::Png);
        origin.set(&path, Reply::new(file, "image/png"));
        app.image(&origin.url(&path), "w=128&f=png").await.look();
    }
    let held = app.metric("pixgate_cache_bytes").await;
    assert!(held > 10_000.0 && held < 450_000.0, "{held}");
    assert_eq!(app.image(&origin.url("/59.png"), "w=128&f=png").await.status, 200);
}
