//! Answered fast, made better behind: a variant that is asked for again becomes smaller under a new name, others do not;
//! AVIF that would take too long is WebP first. Law: what is waited for is a change that a client can see.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, image};
use crate::harness::client::Response;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::encoded;
use crate::harness::redis::RedisServer;
use crate::metadata::up;
use crate::replicas::replica;

const AVIF: [(&str, &str); 1] = [("accept", "image/avif,image/webp,image/*;q=0.8")];

/// A picture of the repository's own, of which encoders with more time save a good part.
async fn photograph() -> (Origin, String) {
    fixture("dusk.jpg").await
}

async fn fixture(name: &str) -> (Origin, String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images").join(name);
    let origin = Origin::start().await;
    let path = format!("/{name}");
    origin.set(&path, Reply::new(std::fs::read(file).expect("a fixture"), "image/jpeg"));
    let url = origin.url(&path);
    (origin, url)
}

fn max_age(answer: &Response) -> u64 {
    let policy = answer.must("cache-control");
    let age = policy.split("max-age=").nth(1).and_then(|rest| rest.split(',').next()?.trim().parse().ok());
    age.unwrap_or_else(|| panic!("{policy}"))
}

/// Asks until the answer is another one than `before`.
async fn until_changed(app: &App, target: &str, headers: &[(&str, &str)], before: &Response) -> Response {
    let started = Instant::now();
    loop {
        let answer = app.get_with(target, headers).await;
        assert_eq!(answer.status, 200);
        if answer.must("etag") != before.must("etag") {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "nothing changed\n{}", app.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_again_becomes_smaller_under_a_new_name() {
    let (origin, url) = photograph().await;
    let app = Setup::new().text("metadata.flush_interval", "100ms").start().await;
    up(&app).await;
    for format in ["avif", "webp"] {
        let target = image(&url, &format!("w=640&f={format}"));
        let next = format!("/_next/image?url={}&w=640&q=75", crate::harness::client::enc(&url));
        let accept = [("accept", if format == "avif" { "image/avif" } else { "image/webp" })];
        let first = app.get(&target).await;
        assert!(max_age(&first) <= 60, "to be picked up soon: {}", first.must("cache-control"));
        let same = app.get_with(&next, &accept).await;
        assert_eq!(same.must("etag"), first.must("etag"), "one variant, whatever the URL");
        assert!(max_age(&same) <= 60 && same.must("cache-control").contains("must-revalidate"));
        let better = until_changed(&app, &target, &[], &first).await;
        assert!(better.body.len() < first.body.len(), "{format}: {} then {}", first.body.len(), better.body.len());
        assert_eq!(
            (better.look().size(), better.must("content-type")),
            (first.look().size(), first.must("content-type"))
        );
        assert_eq!(better.must("cache-status"), "pixgate; hit; detail=memory");
        assert!(max_age(&better) > 3_600, "{}", better.must("cache-control"));
        assert!(max_age(&app.get_with(&next, &accept).await) > 3_600);
        let known = app.get_with(&target, &[("if-none-match", first.must("etag"))]).await;
        assert_eq!(known.status, 200, "the old name is not the new picture's");
    }
    assert_eq!(origin.hits("/dusk.jpg"), 1, "its bytes were still there");
    assert!((app.metric("pixgate_refined_total").await - 2.0).abs() < 0.5);
    let started = Instant::now();
    loop {
        let variants = app.admin(&format!("/variants?url={url}"), &[]).await.json();
        let efforts: Vec<_> = variants.as_array().into_iter().flatten().map(|row| row["effort"].clone()).collect();
        if efforts == ["dense", "dense"] {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{variants}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_once_or_has_no_better_setting_stays_as_it_is() {
    let (_origin, url) = photograph().await;
    let app = Setup::new().start().await;
    let once = app.image(&url, "w=384&f=webp").await;
    let plain = app.image(&url, "w=64&f=jpeg").await;
    assert!(max_age(&once) <= 60 && max_age(&plain) > 3_600, "JPEG has one setting");
    app.image(&url, "w=64&f=jpeg").await;
    // In order: when this one is done, the others would be.
    let again = image(&url, "w=256&f=webp");
    let first = app.get(&again).await;
    until_changed(&app, &again, &[], &first).await;
    assert!((app.metric("pixgate_refined_total").await - 1.0).abs() < 0.5);
    assert_eq!(app.image(&url, "w=384&f=webp").await.must("etag"), once.must("etag"));
}

/// A retina, small: the slow setting makes a better picture of it, but hardly a smaller one unless it is asked for that.
#[tokio::test]
async fn what_only_became_better_is_made_smaller_too() {
    let (_origin, url) = fixture("retina.jpg").await;
    let app = Setup::new().start().await;
    up(&app).await;
    let target = image(&url, "w=96&f=avif&q=50");
    let first = app.get(&target).await;
    let better = until_changed(&app, &target, &[], &first).await;
    let (before, after) = (first.body.len(), better.body.len());
    assert!(after * 20 < before * 19, "{before} then {after}");
    assert_eq!(better.look().size(), first.look().size());
    assert!(max_age(&better) > 3_600);
}

#[tokio::test]
async fn what_would_not_become_smaller_keeps_its_name_for_long() {
    // Of one colour: nothing is smaller than what the fast setting makes of it.
    let plain = ::image::RgbImage::from_pixel(16, 16, ::image::Rgb([200, 40, 40])).into();
    let origin = Origin::with("/a.png", encoded(&plain, ::image::ImageFormat::Png), "image/png").await;
    let app = Setup::new().start().await;
    let target = image(&origin.url("/a.png"), "w=16&f=webp");
    let first = app.get(&target).await;
    assert!(max_age(&first) <= 60, "{}", first.must("cache-control"));
    let started = Instant::now();
    loop {
        let again = app.get(&target).await;
        assert_eq!((again.must("etag"), &again.body), (first.must("etag"), &first.body));
        if max_age(&again) > 3_600 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "still {}", again.must("cache-control"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_progressive_nothing_is_refined_and_nothing_is_short_lived() {
    let (_origin, url) = photograph().await;
    let app = Setup::new().set("avif.progressive", false).text("avif.progressive_budget", "0s").start().await;
    let target = image(&url, "w=256");
    for _ in 0..5 {
        let answer = app.get_with(&target, &AVIF).await;
        assert_eq!(answer.must("content-type"), "image/avif");
        assert!(max_age(&answer) > 3_600);
    }
    assert!(app.metric("pixgate_refined_total").await < 0.5);
}

#[tokio::test]
async fn avif_that_would_take_too_long_is_webp_first() {
    let (_origin, url) = photograph().await;
    let slow = || Setup::new().text("avif.engine", "rav1e").text("avif.progressive_budget", "1ms");
    let app = slow().start().await;
    let target = image(&url, "w=640");
    let first = app.get_with(&target, &AVIF).await;
    assert_eq!((first.must("content-type"), first.must("vary")), ("image/webp", "Accept"));
    assert!(max_age(&first) <= 60);
    let later = until_changed(&app, &target, &AVIF, &first).await;
    assert_eq!((later.must("content-type"), later.look().size()), ("image/avif", first.look().size()));
    assert!(max_age(&later) > 3_600, "rav1e has one setting: {}", later.must("cache-control"));
    // Who names AVIF gets it, and who does not take it never does.
    assert_eq!(app.image(&url, "w=384&f=avif").await.must("content-type"), "image/avif");
    let webp = app.get_with(&target, &[("accept", "image/webp")]).await;
    assert_eq!(webp.must("content-type"), "image/webp");
    let only = app.get_with(&image(&url, "w=256"), &[("accept", "image/avif,image/webp;q=0")]).await;
    assert_eq!(only.must("content-type"), "image/avif", "there is nothing else to answer with");
}

#[tokio::test]
async fn what_one_replica_has_refined_the_others_take() {
    let redis = RedisServer::start();
    let (_origin, url) = photograph().await;
    let setup = || Setup::new().text("redis.url", &redis.url());
    let [one, two] = [replica(setup()).await, replica(setup()).await];
    let target = image(&url, "w=640&f=webp");
    let first = one.get(&target).await;
    // The other has the first version in memory, too.
    let started = Instant::now();
    while two.get(&target).await.must("etag") != first.must("etag") {
        assert!(started.elapsed() < Duration::from_secs(10), "they share");
    }
    let better = until_changed(&one, &target, &[], &first).await;
    let taken = until_changed(&two, &target, &[], &first).await;
    assert_eq!(taken.must("etag"), better.must("etag"));
    let mut made = 0;
    for app in [&one, &two] {
        let page = app.admin("/metrics", &[]).await.text();
        made += page.lines().filter(|line| *line == "pixgate_refined_total{outcome=\"made\"} 1").count();
    }
    assert_eq!(made, 1, "one of them made it");
    drop((one, two));
    let third = replica(setup()).await;
    assert_eq!(third.get(&target).await.must("etag"), better.must("etag"));
}

/// What is not going to be better is not called so, and not put off either.
#[tokio::test]
async fn without_anything_to_come_answers_are_final() {
    let (_origin, url) = photograph().await;
    let late = || Setup::new().text("avif.progressive_budget", "0s");
    for setup in [late().set("refine.cpu_percent", 0), late().text("refine.max_bytes", "1kB")] {
        let app = setup.start().await;
        for _ in 0..3 {
            let avif = app.get_with(&image(&url, "w=256"), &AVIF).await;
            assert_eq!(avif.must("content-type"), "image/avif");
            assert!(max_age(&avif) > 3_600, "{}", avif.must("cache-control"));
            let webp = app.image(&url, "w=256&f=webp").await;
            assert!(max_age(&webp) > 3_600, "{}", webp.must("cache-control"));
            assert!(max_age(&app.next(&url, 256, 75).await) > 3_600);
        }
        assert!(app.metric("pixgate_refined_total").await < 0.5);
    }
}
