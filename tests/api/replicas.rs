//! Several replicas and one Redis: what is shared, who makes it, what a purge reaches, and what happens when Redis does
//! not. Law: real redis-server processes, hurt from outside; sharing is proven by the origin's and the renders' counters.

pub(crate) mod failures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, image};
use crate::harness::client::request;
use crate::harness::cut::Wire;
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::{assert_colour, busy, decoded, encoded, jpeg};
use crate::harness::redis::RedisServer;
use crate::purge::{plain, purge, shows};

const OLD: [u8; 3] = [200, 30, 30];
const NEW: [u8; 3] = [30, 30, 200];

fn on(redis: &RedisServer) -> Setup {
    // What is asked for again would be made smaller behind, and fetched again where its bytes are not.
    Setup::new().text("redis.url", &redis.url()).set("avif.progressive", false)
}

/// A replica that has found its Redis.
pub(crate) async fn replica(setup: Setup) -> App {
    let app = setup.start().await;
    until_redis(&app, "ok").await;
    app
}

async fn until_redis(app: &App, state: &str) {
    let started = Instant::now();
    loop {
        let ready = app.get("/readyz").await;
        assert_eq!(ready.status, 200, "Redis is never needed to be ready: {}", ready.text());
        if ready.json()["dependencies"]["redis"] == state {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{}\n{}", ready.text(), app.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn total(apps: &[App], metric: &str) -> u32 {
    let mut sum = 0.0;
    for app in apps {
        sum += app.metric(metric).await;
    }
    sum as u32
}

/// Waits until what was put behind the responses lies in Redis.
async fn written(redis: &RedisServer, variants: usize) {
    let started = Instant::now();
    while redis.keys("pixgate:*:variant:*").len() < variants {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", redis.keys("*"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_restarted_replica_fetches_and_draws_nothing_that_redis_has() {
    let redis = RedisServer::start();
    let origin = Origin::with("/a.jpg", jpeg(800, 400), "image/jpeg").await;
    let url = origin.url("/a.jpg");
    let first = replica(on(&redis)).await;
    let mut made = Vec::new();
    for rest in ["w=640&f=webp", "w=256&f=avif", "w=64&f=png&h=32&fit=cover", "f=jpeg"] {
        made.push((rest, first.image(&url, rest).await));
    }
    let placeholder = first.get(&format!("/placeholder?url={url}")).await;
    written(&redis, made.len()).await;
    drop(first);
    let second = replica(on(&redis)).await;
    assert_eq!(second.get(&format!("/placeholder?url={url}")).await.body, placeholder.body);
    for (rest, made) in &made {
        let found = second.image(&url, rest).await;
        assert_eq!((found.must("cache-status"), &found.body), ("pixgate; hit; detail=redis", &made.body), "{rest}");
        for name in ["etag", "content-type", "content-disposition"] {
            assert_eq!(found.header(name), made.header(name));
        }
        let again = second.image(&url, rest).await;
        assert_eq!((again.must("cache-status"), &again.body), ("pixgate; hit; detail=memory", &made.body), "{rest}");
    }
    assert_eq!(origin.hits("/a.jpg"), 1);
    assert_eq!(second.metric("pixgate_renders_total").await as u32, 0);
    let next = replica(on(&redis)).await.next(&url, 640, 75).await;
    assert_eq!(next.must("x-nextjs-cache"), "HIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_equal_cold_requests_over_three_replicas_cost_one_fetch_and_one_encode() {
    let redis = RedisServer::start();
    let origin = Arc::new(Origin::start().await);
    let gate = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(1600, 800), "image/jpeg").held(&gate));
    let apps = [replica(on(&redis)).await, replica(on(&redis)).await, replica(on(&redis)).await];
    let target = image(&origin.url("/a.jpg"), "w=640&f=webp");
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (public, target) = (apps[n % 3].public, target.clone());
            tokio::spawn(async move { request(public, "GET", &target, &[], b"").await.expect("an answer") })
        })
        .collect();
    origin.wait_hits("/a.jpg", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.open();
    let mut bodies = Vec::new();
    for task in tasks {
        let answer = task.await.expect("no panic");
        assert_eq!(answer.look().size(), (640, 320));
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!((origin.hits("/a.jpg"), total(&apps, "pixgate_renders_total").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_holds_the_others_up_no_longer_than_its_lease() {
    let redis = RedisServer::start();
    let origin = Arc::new(Origin::start().await);
    let gate = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(800, 400), "image/jpeg").held(&gate));
    let (leader, follower) = (replica(on(&redis)).await, replica(on(&redis)).await);
    let target = image(&origin.url("/a.jpg"), "w=640&f=webp");
    let (public, asked) = (leader.public, target.clone());
    let lost = tokio::spawn(async move { request(public, "GET", &asked, &[], b"").await });
    origin.wait_hits("/a.jpg", 1).await;
    origin.set("/a.jpg", Reply::new(jpeg(800, 400), "image/jpeg"));
    drop(leader);
    assert!(lost.await.expect("no panic").is_err(), "killed in the middle");
    let started = Instant::now();
    assert_eq!(follower.get(&target).await.look().size(), (640, 320));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(origin.hits("/a.jpg"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_purge_no_replica_serves_the_old_picture_under_load() {
    let redis = RedisServer::start();
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    let apps = Arc::new([replica(on(&redis)).await, replica(on(&redis)).await, replica(on(&redis)).await]);
    let url = origin.url("/a.png");
    for app in apps.iter() {
        shows(app, &url, OLD).await;
    }
    // Load on every replica, of which each answer that was asked for after the purge had returned must be new.
    let (purged, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let load: Vec<_> = (0..12)
        .map(|n| {
            let (apps, url, purged, done) = (Arc::clone(&apps), url.clone(), Arc::clone(&purged), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let after = purged.load(Ordering::SeqCst);
                    let answer = apps[n % 3].image(&url, "w=64&f=png").await;
                    assert_eq!(answer.status, 200);
                    if after {
                        assert_colour(&decoded(&answer.body), (32, 16), NEW, 3);
                    }
                }
            })
        })
        .collect();
    origin.set("/a.png", plain(NEW));
    let report = purge(&apps[1], &format!(r#"{{"url":"{url}"}}"#)).await.json();
    purged.store(true, Ordering::SeqCst);
    assert_eq!((&report["replicas"], &report["acknowledged"]), (&3.into(), &3.into()), "{report}");
    for app in apps.iter() {
        shows(app, &url, NEW).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    done.store(true, Ordering::SeqCst);
    for task in load {
        task.await.expect("nothing old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_cut_off_serves_nothing_old_once_it_is_back() {
    let redis = RedisServer::start();
    let wire = Wire::to(redis.port).await;
    let origin = Origin::start().await;
    let paths = ["/url.png", "/other.png"];
    paths.iter().for_each(|path| origin.set(path, plain(OLD)));
    let whole = replica(on(&redis)).await;
    let cut = replica(Setup::new().text("redis.url", &format!("redis://{}", wire.address))).await;
    for path in paths {
        shows(&whole, &origin.url(path), OLD).await;
        shows(&cut, &origin.url(path), OLD).await;
    }
    wire.cut();
    until_redis(&cut, "degraded").await;
    paths.iter().for_each(|path| origin.set(path, plain(NEW)));
    purge(&whole, &format!(r#"{{"url":"{}"}}"#, origin.url("/url.png"))).await;
    // It cannot know, and serves on.
    shows(&cut, &origin.url("/url.png"), OLD).await;
    // A purge asked of the one that is cut off is in force there at once, and elsewhere once it is back.
    let report = purge(&cut, &format!(r#"{{"url":"{}"}}"#, origin.url("/other.png"))).await.json();
    assert_eq!(report["shared"], false, "{report}");
    shows(&cut, &origin.url("/other.png"), NEW).await;
    shows(&whole, &origin.url("/other.png"), OLD).await;
    wire.mend();
    until_redis(&cut, "ok").await;
    let started = Instant::now();
    for (app, path) in [(&cut, "/url.png"), (&whole, "/other.png")] {
        loop {
            let answer = app.image(&origin.url(path), "w=64&f=png").await;
            if decoded(&answer.body).to_rgb8().get_pixel(32, 16).0[2] > 100 {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{path} stays old");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shows(app, &origin.url(path), NEW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_everything_leaves_nothing_old_either() {
    let mut redis = RedisServer::start();
    let origin = Origin::with("/a.jpg", jpeg(200, 100), "image/jpeg").await;
    let url = origin.url("/a.jpg");
    let app = replica(on(&redis)).await;
    app.image(&url, "w=64&f=png").await;
    redis.kill();
    until_redis(&app, "degraded").await;
    assert_eq!(app.image(&url, "w=64&f=png").await.must("cache-status"), "pixgate; hit; detail=memory");
    redis.restart();
    until_redis(&app, "ok").await;
    // What was purged while it could not listen is unknown: the source is asked for again.
    let started = Instant::now();
    while origin.hits("/a.jpg") < 2 {
        assert_eq!(app.image(&url, "w=64&f=png").await.status, 200);
        assert!(started.elapsed() < Duration::from_secs(10), "{}", app.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_a_full_redis_refused_is_handed_on_when_there_is_room() {
    let redis = RedisServer::start();
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    let apps = [replica(on(&redis)).await, replica(on(&redis)).await];
    let url = origin.url("/a.png");
    for app in &apps {
        shows(app, &url, OLD).await;
    }
    redis.ask("CONFIG SET maxmemory 1");
    origin.set("/a.png", plain(NEW));
    let report = purge(&apps[0], &format!(r#"{{"url":"{url}"}}"#)).await.json();
    assert_eq!(report["shared"], false, "{report}");
    shows(&apps[0], &url, NEW).await;
    shows(&apps[1], &url, OLD).await;
    redis.ask("CONFIG SET maxmemory 0");
    let started = Instant::now();
    while decoded(&apps[1].image(&url, "w=64&f=png").await.body).to_rgb8().get_pixel(32, 16).0[2] < 100 {
        assert!(started.elapsed() < Duration::from_secs(10), "it was not handed on: {}", apps[0].log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_their_work_again_after_redis_lost_everything() {
    let redis = RedisServer::start();
    let origin = Origin::start().await;
    let apps = [replica(on(&redis)).await, replica(on(&redis)).await, replica(on(&redis)).await];
    redis.ask("FLUSHALL");
    let started = Instant::now();
    while !apps.iter().all(|app| app.log().contains("purges may have been missed")) {
        assert!(started.elapsed() < Duration::from_secs(10), "it is noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gate = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(1600, 800), "image/jpeg").held(&gate));
    let target = image(&origin.url("/a.jpg"), "w=640&f=webp");
    let asks: Vec<_> = apps
        .iter()
        .map(|app| {
            let (public, target) = (app.public, target.clone());
            tokio::spawn(async move { request(public, "GET", &target, &[], b"").await.expect("an answer").status })
        })
        .collect();
    origin.wait_hits("/a.jpg", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.open();
    for ask in asks {
        assert_eq!(ask.await.expect("no panic"), 200);
    }
    assert_eq!((origin.hits("/a.jpg"), total(&apps, "pixgate_renders_total").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_larger_than_memory_hits_one_of_the_tiers() {
    let redis = RedisServer::start();
    let origin = Origin::start().await;
    for n in 0..50 {
        origin.set(
            &format!("/p{n}.jpg"),
            Reply::new(encoded(&busy(400, 200, n), image::ImageFormat::Jpeg), "image/jpeg"),
        );
    }
    let app = replica(on(&redis).text("cache.memory_bytes", "400KB")).await;
    // 1,000 variants: 50 sources, five widths, four qualities and formats; 4 of 5 requests ask for one in five of them.
    let target = |n: usize| {
        let (width, form) =
            ([16, 32, 48, 64, 96][n / 50 % 5], ["f=webp&q=75", "f=webp&q=50", "f=jpeg&q=75", "f=png"][n / 250]);
        image(&origin.url(&format!("/p{}.jpg", n % 50)), &format!("w={width}&{form}"))
    };
    let mut state = 12_345_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..6_000 {
        let n = if random(5) < 4 { random(200) * 5 } else { random(1_000) };
        assert_eq!(app.get(&target(n)).await.status, 200);
    }
    let page = app.admin("/metrics", &[]).await.text();
    let count = |cache: &str| -> f64 {
        let name = format!("pixgate_requests_total{{route=\"/image\",status=\"200\",cache=\"{cache}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0.0)
    };
    let (memory, shared) = (count("memory"), count("redis"));
    assert!(shared > 500.0, "memory is smaller than the set: {memory} {shared}");
    assert!((memory + shared) / 6_000.0 > 0.8, "{memory} + {shared} of 6000");
}
