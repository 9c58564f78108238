//! PostgreSQL behind running replicas: counts over two of them, what kill -9 costs, and a server that is killed, hangs and
//! has no connection left while pictures are asked for. Law: real servers, hurt from outside; every picture is a picture.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, TempDir};
use crate::harness::client::enc;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{busy, encoded, jpeg, png};
use crate::harness::postgres::PostgresServer;
use crate::harness::redis::RedisServer;
use crate::metadata::{stop, up};
use crate::purge::purge;
use crate::replicas::{load, replica, stop_load};

fn on(server: &PostgresServer) -> Setup {
    Setup::new().text("metadata.url", &server.url()).set("metadata.max_connections", 5)
}

async fn requests(app: &App) -> u64 {
    let stats = app.admin("/stats", &[]).await;
    assert_eq!(stats.status, 200, "{}", stats.text());
    stats.json()["requests"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_replicas_were_asked_is_what_the_store_has_after_a_clean_stop() {
    let server = PostgresServer::start();
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    let url = origin.url("/a.jpg");
    // Both at once on an empty database.
    let (one, two) = tokio::join!(on(&server).start(), on(&server).start());
    up(&one).await;
    up(&two).await;
    for n in 0..60 {
        let app = if n % 3 == 0 { &one } else { &two };
        let width = [16, 32, 64][n % 2];
        assert_eq!(app.image(&url, &format!("w={width}&f=png")).await.status, 200);
    }
    stop(one).await;
    stop(two).await;
    let later = on(&server).start().await;
    up(&later).await;
    assert_eq!(requests(&later).await, 60);
    let variants = later.admin(&format!("/variants?url={url}"), &[]).await.json();
    let counted: u64 = variants.as_array().expect("a list").iter().filter_map(|row| row["requests"].as_u64()).sum();
    assert_eq!((counted, variants.as_array().map(Vec::len)), (60, Some(2)), "{variants}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_that_was_answered_for_is_known_after_kill_9() {
    let (server, dir) = (PostgresServer::start(), TempDir::new());
    let origin = Origin::start().await;
    let file = format!("sqlite:{}", dir.path().join("meta.db").display());
    for address in [server.url(), file] {
        let setup = || Setup::new().text("metadata.url", &address).text("redis.url", "");
        for round in 0..10 {
            let app = setup().start().await;
            up(&app).await;
            for n in 0..3 {
                let path = format!("/{round}-{n}.jpg");
                origin.set(&path, Reply::new(encoded(&busy(80, 40, n), image::ImageFormat::Jpeg), "image/jpeg"));
                let url = origin.url(&path);
                let answer = match n {
                    0 => app.get(&format!("/placeholder?url={}", enc(&url))).await,
                    _ => app.image(&url, "w=16&f=png").await,
                };
                assert_eq!(answer.status, 200);
            }
            // At once, by kill -9.
            drop(app);
        }
        let app = setup().start().await;
        up(&app).await;
        assert_eq!(app.admin("/stats", &[]).await.json()["sources"], 30, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spike_waits_for_no_connection_for_long() {
    let server = PostgresServer::start();
    let origin = Origin::start().await;
    for n in 0..200 {
        origin.set(&format!("/{n}.png"), Reply::new(png(8 + n, 8), "image/png"));
    }
    let app = Arc::new(on(&server).set("limits.queue", 4096).start().await);
    up(&app).await;
    let clients: Vec<_> = (0..100)
        .map(|client| {
            let (app, origin) = (Arc::clone(&app), origin.url(""));
            tokio::spawn(async move {
                for n in 0..20 {
                    let width = [16, 32, 48, 64, 96][n % 5];
                    let url = format!("{origin}/{}.png", (client * 2 + n * 7) % 200);
                    assert_eq!(app.image(&url, &format!("w={width}&f=png")).await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no error to a client");
    }
    let acquired = app.metric("pixgate_metadata_acquire_seconds_count").await;
    let page = app.admin("/metrics", &[]).await.text();
    let soon = page.lines().find_map(|line| line.strip_prefix("pixgate_metadata_acquire_seconds_bucket{le=\"1.0\"} "));
    let soon: f64 = soon.and_then(|count| count.parse().ok()).expect("a bucket of one second");
    assert!(acquired >= 1.0 && (soon - acquired).abs() < 0.5, "{soon} of {acquired} connections within a second");
    assert!(app.metric("pixgate_metadata_pool_connections").await <= 6.0, "the pool and its keeper");
    let app = Arc::into_inner(app).expect("the clients are gone");
    stop(app).await;
    let later = on(&server).start().await;
    up(&later).await;
    let stats = later.admin("/stats", &[]).await.json();
    assert_eq!((&stats["requests"], &stats["sources"]), (&2000.into(), &200.into()), "{stats}");
}

#[tokio::test]
async fn a_killed_service_loses_one_flush_interval_of_counts_and_no_source() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    let setup = || {
        let file = dir.path().join("meta.db");
        let setup = Setup::new().text("metadata.url", &format!("sqlite:{}", file.display())).text("redis.url", "");
        setup.text("metadata.flush_interval", "300ms")
    };
    let app = setup().start().await;
    up(&app).await;
    for n in 0..20 {
        let path = format!("/{n}.jpg");
        origin.set(&path, Reply::new(encoded(&busy(80, 40, n), image::ImageFormat::Jpeg), "image/jpeg"));
        assert_eq!(app.image(&origin.url(&path), "w=16&f=png").await.status, 200);
    }
    let started = Instant::now();
    while requests(&app).await < 20 {
        assert!(started.elapsed() < Duration::from_secs(10), "counts are written every 300 ms");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..30 {
        assert_eq!(app.image(&origin.url("/0.jpg"), "w=16&f=png").await.status, 200);
    }
    // kill -9.
    drop(app);
    let app = setup().start().await;
    up(&app).await;
    let kept = requests(&app).await;
    assert!((20..=50).contains(&kept), "{kept}");
    assert_eq!(app.admin("/stats", &[]).await.json()["sources"], 20, "no source is lost");
}

#[tokio::test]
async fn a_start_with_redis_purges_nothing_that_the_store_knows() {
    let (redis, server) = (RedisServer::start(), PostgresServer::start());
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    let (kept, purged) = (origin.url("/a.jpg"), origin.url("/a.jpg?purged"));
    let setup = || on(&server).text("redis.url", &redis.url());
    let source = async |app: &App, url: &str| {
        let page = app.admin(&format!("/sources?prefix={}", enc(url)), &[]).await.json();
        let sources = page["sources"].as_array().expect("a list").clone();
        sources.into_iter().find(|source| source["url"] == url).expect("the source")
    };
    // Two at once, so that one hears of the purge from the other; then one that reads it in the ledger.
    let apps = [replica(setup()).await, replica(setup()).await];
    for app in &apps {
        up(app).await;
        assert_eq!(app.image(&kept, "w=16&f=png").await.status, 200);
        assert_eq!(app.image(&purged, "w=16&f=png").await.status, 200);
    }
    assert_eq!(purge(&apps[0], &format!(r#"{{"url":"{purged}"}}"#)).await.status, 200);
    for app in apps {
        stop(app).await;
    }
    let app = replica(setup()).await;
    up(&app).await;
    stop(app).await;
    let app = replica(setup()).await;
    up(&app).await;
    assert_eq!(source(&app, &kept).await["purges"], 0);
    assert_eq!(source(&app, &purged).await["purges"], 1);
}

async fn through(what: &str, settings: &[&str], hurt: fn(&mut PostgresServer), heal: fn(&mut PostgresServer)) {
    let mut server = PostgresServer::start_with(settings);
    let origin = Origin::start().await;
    for n in 0..20 {
        let file = encoded(&busy(160, 80, n), image::ImageFormat::Jpeg);
        origin.set(&format!("/p{n}.jpg"), Reply::new(file, "image/jpeg"));
    }
    let app = on(&server).text("metadata.acquire_timeout", "1s").start().await;
    up(&app).await;
    let ending = Arc::new(AtomicBool::new(false));
    let load = load(&app, &origin, &ending);
    tokio::time::sleep(Duration::from_millis(700)).await;
    hurt(&mut server);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(app.metric("pixgate_metadata_pool_connections").await <= 6.0, "{what}: the pool and its keeper");
    heal(&mut server);
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop_load(load, &ending, what).await;
    up(&app).await;
    let warnings = app.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 20, "{what}: a line a change of state, not a line a request:\n{}", app.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_killed_fails_no_picture() {
    through("kill -9", &[], PostgresServer::kill, PostgresServer::start_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_hangs_fails_no_picture() {
    through("SIGSTOP", &[], |server| server.hang(), |server| server.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_without_connections_fails_no_picture() {
    // Fewer for its users than the pool would open.
    through("max_connections", &["max_connections=6"], |_| {}, |_| {}).await;
}
