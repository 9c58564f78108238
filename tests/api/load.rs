//! Many at once: single flight, one download per source, clients that leave, floods of cold work, memory afterwards,
//! and the end of the process. Law: the origin holds its answer behind a gate until the crowd is in, so that sharing
//! is proven by counters and not by luck.

use std::sync::Arc;
use std::time::{Duration, Instant};

use image::ImageFormat;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::app::{App, Setup, image};
use crate::harness::client::{Response, request};
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::{self, busy, jpeg, png};

/// Sends every target at once; the answers in order.
async fn at_once(app: &App, targets: Vec<String>) -> Vec<Response> {
    let public = app.public;
    let tasks: Vec<_> = targets
        .into_iter()
        .map(|target| tokio::spawn(async move { request(public, "GET", &target, &[], b"").await.expect("an answer") }))
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_equal_cold_requests_cost_one_fetch_and_one_encode() {
    let origin = Arc::new(Origin::start().await);
    let gate = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(1600, 800), "image/jpeg").held(&gate));
    let app = Setup::new().start().await;
    let target = image(&origin.url("/a.jpg"), "w=640&f=webp");
    let opener = {
        let origin = Arc::clone(&origin);
        tokio::spawn(async move {
            origin.wait_hits("/a.jpg", 1).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            gate.open();
        })
    };
    let answers = at_once(&app, vec![target; 100]).await;
    opener.await.expect("the gate opened");
    for answer in &answers {
        assert_eq!((answer.look().size(), &answer.body), ((640, 320), &answers[0].body));
    }
    assert_eq!(origin.hits("/a.jpg"), 1);
    assert!((app.metric("pixgate_renders_total").await - 1.0).abs() < 0.5);
    let status = |text: &str| answers.iter().filter(|a| a.must("cache-status") == text).count();
    assert_eq!(status("pixgate; fwd=miss"), 1, "one led");
    let joined = status("pixgate; fwd=miss; collapsed");
    assert!(joined >= 50, "{joined} joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_widths_of_a_cold_source_share_one_download_and_one_decode() {
    let origin = Origin::start().await;
    let file = jpeg(2200, 1100);
    origin
        .set("/a.jpg", Reply::new(file.clone(), "image/jpeg").drip(file.len().div_ceil(10), Duration::from_millis(30)));
    let app = Setup::new().start().await;
    let widths = [16, 64, 128, 256, 384, 640, 750, 828, 1080, 1200, 1920, 2048];
    let url = origin.url("/a.jpg");
    let mut targets: Vec<_> = widths.iter().map(|w| image(&url, &format!("w={w}&f=webp"))).collect();
    targets.push(image(&url, "w=256&f=jpeg"));
    targets.push(format!("/placeholder?url={}", crate::harness::client::enc(&url)));
    let answers = at_once(&app, targets).await;
    for (answer, width) in answers.iter().zip(widths) {
        assert_eq!(answer.look().width, width);
    }
    assert_eq!((answers[12].status, answers[13].status), (200, 200));
    assert_eq!(origin.hits("/a.jpg"), 1);
    let page = app.admin("/metrics", &[]).await.text();
    assert!(page.contains("pixgate_render_seconds_count{stage=\"decode\"} 1\n"), "one decode for all of them:\n{page}");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_the_work_along() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(800, 400), "image/jpeg").held(&gate));
    let app = Setup::new().start().await;
    let target = image(&origin.url("/a.jpg"), "w=640&f=webp");
    let mut leaver = TcpStream::connect(app.public).await.expect("connects");
    leaver.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("sends");
    origin.wait_hits("/a.jpg", 1).await;
    drop(leaver);
    // Long enough for the service to notice that the client is gone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.open();
    let answer = app.get(&target).await;
    assert_eq!(answer.look().size(), (640, 320));
    let status = answer.must("cache-status");
    assert!(status.contains("hit") || status.contains("collapsed"), "{status}");
    assert_eq!(origin.hits("/a.jpg"), 1);
    assert!((app.metric("pixgate_renders_total").await - 1.0).abs() < 0.5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_cold_work_is_shed_and_hits_go_on() {
    let origin = Origin::with("/warm.png", png(100, 50), "image/png").await;
    let app = Setup::new().set("limits.render_threads", 1).set("limits.queue", 2).start().await;
    let warm = image(&origin.url("/warm.png"), "w=64&f=png");
    app.get(&warm).await.look();
    let mut targets = Vec::new();
    for n in 0..30_u32 {
        let path = format!("/{n}.jpg");
        origin.set(&path, Reply::new(pictures::encoded(&busy(1100, 800, n), ImageFormat::Jpeg), "image/jpeg"));
        targets.push(image(&origin.url(&path), "w=1080&f=avif"));
    }
    let public = app.public;
    let hits = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        for _ in 0..40 {
            let started = Instant::now();
            let answer = request(public, "GET", &warm, &[], b"").await.expect("an answer");
            assert!(answer.must("cache-status").contains("hit"), "{:?}", answer.headers);
            slowest = slowest.max(started.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest
    });
    let answers = at_once(&app, targets).await;
    let slowest = hits.await.expect("every hit was a 200");
    let shed: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(shed.len() + served, answers.len(), "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
    assert!(shed.len() >= 10 && served >= 1, "{} shed, {served} served", shed.len());
    for answer in shed {
        answer.problem(503, crate::harness::code::OVERLOADED);
        assert!(answer.must("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    }
    assert!(app.metric("pixgate_shed_total").await >= 10.0);
    assert!(slowest < Duration::from_secs(2), "the slowest hit took {slowest:?}");
}

/// Sixty cold pictures of 1920 pixels in the slowest format: each is right, or refused at once; nothing else is handed out
/// for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_cold_avif_at_once_are_right_or_refused_at_once() {
    const ALL: usize = 60;
    const WAIT: usize = 20;
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images/lake.jpg");
    let photograph = std::fs::read(file).expect("a fixture");
    let origin = Origin::start().await;
    // Other bytes each, behind the end of the picture, so that nothing is shared.
    let targets: Vec<String> = (0..ALL)
        .map(|n| {
            let mut bytes = photograph.clone();
            bytes.extend_from_slice(format!("{n}").as_bytes());
            let path = format!("/{n}.jpg");
            origin.set(&path, Reply::new(bytes, "image/jpeg"));
            image(&origin.url(&path), "w=1920&f=avif")
        })
        .collect();
    for (queue, least) in [(256, ALL), (WAIT, WAIT)] {
        let app = Setup::new().set("limits.queue", queue).text("limits.queue_wait", "60s");
        let app = app.text("limits.render_timeout", "60s").start().await;
        let started = Instant::now();
        let answers = at_once(&app, targets.clone()).await;
        let (right, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        for answer in &right {
            assert_eq!(answer.must("content-type"), "image/avif");
            assert_eq!(answer.body, right[0].body, "the same picture, rendered");
        }
        assert_eq!(right[0].look().size(), (1920, 1280));
        for answer in &refused {
            answer.problem(503, crate::harness::code::OVERLOADED);
            assert!(answer.must("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
        }
        assert!(right.len() >= least, "{} of {ALL} are right with a queue of {queue}", right.len());
        assert!(queue >= ALL || !refused.is_empty(), "a queue of {queue} is a bound");
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn memory_settles_over_many_misses() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let mut after_50 = 0;
    for n in 0..500_u32 {
        let path = format!("/{n}.jpg");
        origin.set(&path, Reply::new(pictures::encoded(&busy(180, 120, n), ImageFormat::Jpeg), "image/jpeg"));
        app.image(&origin.url(&path), "w=96&f=webp").await.look();
        if n == 49 {
            after_50 = app.resident_bytes();
        }
    }
    let after_500 = app.resident_bytes();
    assert!(after_500 < after_50 + after_50 / 2, "{after_50} after 50, {after_500} after 500");
}

/// A BMP of about 1 MB: downloaded in full, drawn in a moment. `seed` makes it one of its own.
fn bitmap(seed: u32) -> Vec<u8> {
    pictures::encoded(&busy(640, 540, seed), ImageFormat::Bmp)
}

/// Downloads wait a quarter of a minute for the next width of the page; afterwards they are not the service's any more.
#[tokio::test]
async fn what_a_burst_of_downloads_took_goes_back_to_the_system() {
    const SOURCES: u32 = 48;
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    // What a first render brings into memory stays.
    origin.set("/first.bmp", Reply::new(bitmap(SOURCES), "image/bmp"));
    app.image(&origin.url("/first.bmp"), "w=96&f=webp").await.look();
    let before = app.resident_bytes();
    for n in 0..SOURCES {
        let path = format!("/{n}.bmp");
        origin.set(&path, Reply::new(bitmap(n), "image/bmp"));
        app.image(&origin.url(&path), "w=96&f=webp").await.look();
    }
    let held = app.metric("pixgate_cache_bytes").await as u64;
    assert!(held > 30_000_000, "{held} bytes of downloads are held");
    let full = app.resident_bytes();
    assert!(full > before + held / 4 * 3, "{before} bytes resident at first, {full} with all of it");
    let asked = Instant::now();
    loop {
        let now = app.resident_bytes();
        if now < before + held / 4 {
            break;
        }
        assert!(
            asked.elapsed() < Duration::from_secs(60),
            "{before} bytes resident at first, and {now} a minute after the burst"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_refuses_new_work() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(800, 400), "image/jpeg").held(&gate));
    let mut app = Setup::new().start().await;
    let (public, target) = (app.public, image(&origin.url("/a.jpg"), "w=640&f=webp"));
    let in_flight = tokio::spawn(async move { request(public, "GET", &target, &[], b"").await });
    origin.wait_hits("/a.jpg", 1).await;
    app.terminate();
    let asked = Instant::now();
    while request(public, "GET", "/healthz", &[], b"").await.is_ok_and(|answer| answer.status == 200) {
        assert!(asked.elapsed() < Duration::from_secs(10), "new work is still taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!in_flight.is_finished(), "the request in flight was cut off");
    gate.open();
    let answer = in_flight.await.expect("no panic").expect("the request in flight is answered");
    assert_eq!(answer.look().size(), (640, 320));
    assert_eq!(app.exit_code().await, Some(0));
}

#[tokio::test]
async fn the_grace_period_ends() {
    let origin = Origin::start().await;
    let never = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(80, 40), "image/jpeg").held(&never));
    let mut app = Setup::new()
        .text("server.shutdown_grace", "1s")
        .text("sources.first_byte_timeout", "60s")
        .text("sources.timeout", "60s")
        .start()
        .await;
    let (public, target) = (app.public, image(&origin.url("/a.jpg"), "w=64"));
    let _abandoned = tokio::spawn(async move { request(public, "GET", &target, &[], b"").await });
    origin.wait_hits("/a.jpg", 1).await;
    app.terminate();
    let asked = Instant::now();
    assert_eq!(app.exit_code().await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn an_idle_service_ends_at_once() {
    let mut app = Setup::new().start().await;
    assert!(app.lives().await);
    app.terminate();
    let asked = Instant::now();
    assert_eq!(app.exit_code().await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
