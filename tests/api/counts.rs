//! What was counted: by clients on one side and by the store on the other, over replicas, through evictions and kill -9.
//! Law: what is expected is what the clients saw in their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, TempDir, image};
use crate::harness::client::{enc, request};
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{busy, encoded, jpeg, png};
use crate::harness::postgres::PostgresServer;
use crate::metadata::{over, stop, up};

/// A number among the statistics.
async fn told(app: &App, name: &str) -> u64 {
    let stats = app.admin("/stats", &[]).await;
    assert_eq!(stats.status, 200, "{}", stats.text());
    stats.json()[name].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_two_replicas_saw_is_what_the_store_has_after_a_clean_stop() {
    let server = PostgresServer::start();
    let origin = Origin::start().await;
    for n in 0..10 {
        origin.set(&format!("/{n}.jpg"), Reply::new(jpeg(300 + n, 200), "image/jpeg"));
    }
    let on = || {
        let setup = Setup::new().text("metadata.url", &server.url()).set("metadata.max_connections", 5);
        // Flushes are under way all the time, and nothing is encoded again behind.
        setup.text("metadata.flush_interval", "100ms").set("avif.progressive", false)
    };
    // Both at once on an empty database.
    let (one, two) = tokio::join!(on().start(), on().start());
    up(&one).await;
    up(&two).await;
    let clients: Vec<_> = (0..16_u32)
        .map(|client| {
            let (public, base) = (if client % 2 == 0 { one.public } else { two.public }, origin.url(""));
            tokio::spawn(async move {
                let mut hits = 0;
                for n in 0..60 {
                    let url = format!("{base}/{}.jpg", (client + n * 3) % 10);
                    let target = image(&url, ["w=16&f=png", "w=64&f=webp"][n as usize % 2]);
                    let answer = request(public, "GET", &target, &[], b"").await.expect("an answer");
                    assert_eq!(answer.status, 200);
                    hits += u64::from(answer.must("cache-status").starts_with("pixgate; hit"));
                }
                hits
            })
        })
        .collect();
    let mut hits = 0;
    for client in clients {
        hits += client.await.expect("no panic");
    }
    assert!(hits > 800, "{hits}");
    stop(one).await;
    stop(two).await;
    let later = on().start().await;
    up(&later).await;
    assert_eq!((told(&later, "hits").await, told(&later, "requests").await), (hits, 16 * 60));
    let (mut by_variant, mut asked) = (0, 0);
    for n in 0..10 {
        let url = enc(&origin.url(&format!("/{n}.jpg")));
        let variants = later.admin(&format!("/variants?url={url}"), &[]).await.json();
        assert_eq!(variants.as_array().map(Vec::len), Some(2), "{variants}");
        for variant in variants.as_array().expect("a list") {
            by_variant += variant["hits"].as_u64().expect("a number");
            asked += variant["requests"].as_u64().expect("a number");
        }
    }
    assert_eq!((by_variant, asked), (hits, 16 * 60));
    let formats = later.admin("/stats", &[]).await.json()["formats"].clone();
    let sum =
        |name: &str| -> u64 { formats.as_array().expect("a list").iter().filter_map(|row| row[name].as_u64()).sum() };
    assert_eq!((sum("hits"), sum("requests"), sum("variants")), (hits, 16 * 60, 20), "{formats}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_costs_the_counts_of_one_interval_and_no_source() {
    const INTERVAL: Duration = Duration::from_millis(300);
    /// A busy machine may be late with a flush.
    const SLACK: Duration = Duration::from_millis(700);
    let dir = TempDir::new();
    let origin = Arc::new(Origin::start().await);
    let setup = || over(&dir).text("metadata.flush_interval", "300ms");
    let app = setup().start().await;
    up(&app).await;
    let (killed, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (public, killed, next) = (app.public, Arc::clone(&killed), Arc::clone(&next));
            let origin = Arc::clone(&origin);
            tokio::spawn(async move {
                // When each was answered, and whether its source was a new one.
                let mut answered = Vec::new();
                while !killed.load(Ordering::SeqCst) {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    let source = if n.is_multiple_of(20) { n } else { 0 };
                    let path = format!("/{source}.jpg");
                    if source == n {
                        let picture = encoded(&busy(80, 40, n), ::image::ImageFormat::Jpeg);
                        origin.set(&path, Reply::new(picture, "image/jpeg"));
                    }
                    let target = image(&origin.url(&path), "w=16&f=png");
                    match request(public, "GET", &target, &[], b"").await {
                        Ok(answer) if answer.status == 200 => answered.push((Instant::now(), origin.url(&path))),
                        // Killed in the middle, or asked for before its reply was set.
                        _ => {}
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                answered
            })
        })
        .collect();
    tokio::time::sleep(INTERVAL * 10).await;
    // kill -9, while a flush may be under way.
    let end = Instant::now();
    drop(app);
    killed.store(true, Ordering::SeqCst);
    let mut answered = Vec::new();
    for client in clients {
        answered.extend(client.await.expect("no panic"));
    }
    let app = setup().start().await;
    up(&app).await;
    let kept = told(&app, "requests").await as usize;
    let late = answered.iter().filter(|(at, _)| *at + INTERVAL + SLACK > end).count();
    let all = answered.len();
    assert!(all > 2 * late, "a steady rate: {late} of {all} at the end");
    assert!(kept + late >= all, "{kept} of {all} are kept, {late} are of the last interval");
    // Those whose answers were cut off may be counted too: one of each client.
    assert!(kept <= all + 4, "{kept} of {all}");
    let mut urls: Vec<_> = answered.into_iter().map(|(_, url)| url).collect();
    urls.sort();
    urls.dedup();
    for url in &urls {
        let page = app.admin(&format!("/sources?prefix={}", enc(url)), &[]).await.json();
        assert_eq!(page["sources"].as_array().map(Vec::len), Some(1), "{url}");
    }
    assert!(urls.len() > 5, "{}", urls.len());
}

#[tokio::test]
async fn every_render_is_counted_and_private_pictures_leave_only_their_answers() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    let setup = over(&dir).text("cache.memory_bytes", "200kB").text("cache.source_bytes", "200kB");
    let app = setup.text("metadata.flush_interval", "100ms").set("avif.progressive", false).start().await;
    up(&app).await;
    for n in 0..40 {
        let picture = encoded(&busy(160, 100, n), ::image::ImageFormat::Png);
        origin.set(&format!("/{n}.png"), Reply::new(picture, "image/png"));
    }
    let private = Reply::new(png(80, 40), "image/png").header("cache-control", "private");
    origin.set("/private.png", private);
    for _ in 0..2 {
        for n in 0..40 {
            assert_eq!(app.image(&origin.url(&format!("/{n}.png")), "w=128&f=png").await.status, 200);
        }
    }
    let renders = app.metric("pixgate_renders_total").await as u64;
    assert!(renders > 40, "memory forgets: {renders}");
    for _ in 0..5 {
        assert_eq!(app.image(&origin.url("/private.png"), "w=384&f=jpeg").await.status, 200);
    }
    stop(app).await;
    let app = over(&dir).start().await;
    up(&app).await;
    let stats = app.admin("/stats", &[]).await.json();
    assert_eq!((&stats["requests"], &stats["sources"]), (&85.into(), &40.into()), "{stats}");
    let png = &stats["formats"][0];
    assert_eq!(
        (&png["renders"], &png["requests"], &png["variants"]),
        (&renders.into(), &80.into(), &40.into()),
        "{stats}"
    );
    assert_eq!(
        (&stats["widths"][0]["width"], stats["widths"].as_array().map(Vec::len)),
        (&128.into(), Some(1)),
        "{stats}"
    );
    assert_eq!(stats["exceeding"].as_array().map(Vec::len), Some(0), "{stats}");
    assert_eq!(png["unused"], 0, "each was asked for twice");
}

#[tokio::test]
async fn who_asks_for_placeholders_alone_is_seen() {
    let dir = TempDir::new();
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    let setup = || over(&dir).text("metadata.flush_interval", "100ms");
    let placeholder = format!("/placeholder?url={}", enc(&origin.url("/a.jpg")));
    let seen = async |app: &App| app.admin("/sources", &[]).await.json()["sources"][0]["lastSeenMs"].as_u64();
    let app = setup().start().await;
    up(&app).await;
    assert_eq!(app.get(&placeholder).await.status, 200);
    stop(app).await;
    let app = setup().start().await;
    up(&app).await;
    let before = seen(&app).await.expect("a source");
    let started = Instant::now();
    while seen(&app).await == Some(before) {
        assert_eq!(app.get(&placeholder).await.status, 200);
        assert!(started.elapsed() < Duration::from_secs(20), "it is not seen");
    }
    assert_eq!(origin.hits("/a.jpg"), 1);
}
