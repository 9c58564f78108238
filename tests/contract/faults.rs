//! What Redis may do: be absent, hang, die, be full, give back garbage. Law: nobody waits longer than the limit, nothing
//! wrong is believed, and when it is well again it is used again, without anybody's help.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pixgate::cache::redis::Settings;
use pixgate::cache::{CacheTier as _, Found};

use crate::harness::{Sample, Shared, settings, until, variant};
use crate::support::{RedisServer, Reply};

async fn look_up(shared: &Shared, sample: &Sample) -> Found {
    shared.tier.look_up(sample.source, sample.wish, &variant).await
}

async fn put(shared: &Shared, sample: &Sample) {
    shared.tier.put_record(sample.source, Arc::clone(&sample.record));
    shared.tier.put_variant(sample.source, sample.wish, sample.variant, Arc::clone(&sample.entry));
    shared.tier.settled().await;
}

fn quick(server: &RedisServer) -> Settings {
    Settings { timeout: Duration::from_millis(100), ..settings(&server.url()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_start_costs_nothing_and_is_found_when_it_comes() {
    let mut server = RedisServer::prepared(&[]);
    let shared = Shared::new(&quick(&server));
    let sample = Sample::new("absent");
    let started = Instant::now();
    for _ in 0..1000 {
        assert_eq!(look_up(&shared, &sample).await, Found::default());
        shared.tier.put_record(sample.source, Arc::clone(&sample.record));
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(!shared.tier.forget(sample.source).await, "nothing is known to be gone");
    assert_eq!((shared.lookups("error"), shared.writes("dropped")), (1000, 1000));
    until("it is said", || shared.metric("pixgate_redis_breaker") == 2).await;
    assert_eq!(shared.metric("pixgate_redis_up"), 0);
    server.restart();
    shared.up().await;
    assert_eq!(shared.metric("pixgate_redis_up"), 1);
    put(&shared, &sample).await;
    assert_eq!(look_up(&shared, &sample).await.entry.as_ref(), Some(&sample.entry));
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_costs_a_few_timeouts_and_then_nothing() {
    let server = RedisServer::start();
    let shared = Shared::connected(&quick(&server)).await;
    let sample = Sample::new("hung");
    put(&shared, &sample).await;
    server.hang();
    let mut waited = 0;
    let mut answered_at_once = 0;
    let began = Instant::now();
    while answered_at_once < 100 {
        let started = Instant::now();
        assert_eq!(look_up(&shared, &sample).await, Found::default());
        if started.elapsed() >= Duration::from_millis(90) {
            waited += 1;
        } else {
            answered_at_once += 1;
        }
        assert!(started.elapsed() < Duration::from_secs(1), "the limit is 100 ms: {:?}", started.elapsed());
    }
    assert!(waited <= 5, "{waited} callers waited");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!shared.tier.is_up());
    // New connections hang too.
    until("a trial failed", || shared.metric("pixgate_redis_breaker") == 1).await;
    until("a trial failed", || shared.metric("pixgate_redis_breaker") == 2).await;
    assert_eq!(look_up(&shared, &sample).await, Found::default());
    server.resume();
    shared.up().await;
    assert_eq!(look_up(&shared, &sample).await.entry.as_ref(), Some(&sample.entry));
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_is_noticed_without_callers() {
    let server = RedisServer::start();
    let shared = Shared::connected(&quick(&server)).await;
    server.hang();
    shared.down().await;
    server.resume();
    shared.up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_in_the_middle_of_a_load() {
    let mut server = RedisServer::start();
    let shared = Arc::new(Shared::connected(&quick(&server)).await);
    let sample = Arc::new(Sample::new("killed"));
    put(&shared, &sample).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = (0..32).map(|_| {
        let (shared, sample, stop) = (Arc::clone(&shared), Arc::clone(&sample), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let started = Instant::now();
                look_up(&shared, &sample).await;
                slowest = slowest.max(started.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            slowest
        })
    });
    let load: Vec<_> = load.collect();
    until("hits", || shared.lookups("hit") > 500).await;
    server.kill();
    shared.down().await;
    until("misses", || shared.lookups("error") > 500).await;
    server.restart();
    shared.up().await;
    put(&shared, &sample).await;
    let hits = shared.lookups("hit");
    until("hits again", || shared.lookups("hit") > hits + 500).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for task in load {
        let slowest = task.await.expect("no panic");
        assert!(slowest < Duration::from_secs(1), "a caller waited {slowest:?}");
    }
}

#[tokio::test]
async fn full_refuses_writes_and_goes_on_reading() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    let kept = Sample::new("kept");
    put(&shared, &kept).await;
    assert_eq!(server.ask("CONFIG SET maxmemory-policy noeviction").text(), "OK");
    assert_eq!(server.ask("CONFIG SET maxmemory 1kb").text(), "OK");
    for at in 0..20 {
        put(&shared, &Sample::new(&format!("full-{at}"))).await;
    }
    assert!(shared.writes("error") >= 20, "{}", shared.writes("error"));
    assert!(shared.tier.is_up(), "reading goes on");
    assert_eq!(look_up(&shared, &kept).await.entry.as_ref(), Some(&kept.entry));
    assert_eq!(server.ask("CONFIG SET maxmemory 0").text(), "OK");
    let after = Sample::new("after");
    put(&shared, &after).await;
    assert_eq!(look_up(&shared, &after).await.entry.as_ref(), Some(&after.entry));
}

#[tokio::test]
async fn evicted_values_are_misses() {
    let server = RedisServer::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]);
    let shared = Shared::over(&server).await;
    let samples: Vec<_> =
        (0..100).map(|at| Sample::with_picture(&format!("evicted-{at}"), vec![at; 100_000])).collect();
    for sample in &samples {
        put(&shared, sample).await;
    }
    let mut hits = 0;
    for sample in &samples {
        let found = look_up(&shared, sample).await;
        hits += usize::from(found.entry.is_some());
        assert!(found.entry.is_none_or(|entry| entry == sample.entry));
    }
    assert!(hits > 0 && hits < 50, "{hits}");
    assert_eq!((shared.lookups("error"), shared.lookups("bad")), (0, 0));
}

#[tokio::test]
async fn garbage_is_a_miss_and_is_taken_away() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    let sample = Sample::new("garbage");
    put(&shared, &sample).await;
    let source = server.keys("pixgate:3:source:*").remove(0);
    let variant = server.keys("pixgate:3:variant:*").remove(0);
    let hint = server.keys("pixgate:3:wish:*").remove(0);
    let Reply::Bytes(value) = server.ask(&format!("GET {variant}")) else { panic!("a value") };

    let mut older = value.clone();
    older[4] = 0;
    let mut flipped = value.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    let bad: [(&str, &[u8]); 5] = [
        (&variant, b"not a value"),
        (&variant, b""),
        (&variant, &older),
        (&variant, &flipped),
        (&variant, &value[..value.len() - 1]),
    ];
    for (at, (key, bytes)) in bad.into_iter().enumerate() {
        server.command(&[b"SET", key.as_bytes(), bytes]);
        let found = look_up(&shared, &sample).await;
        assert_eq!((found.record.as_ref(), found.entry), (Some(&sample.record), None), "{at}");
        assert_eq!(shared.lookups("bad"), at as u64 + 1);
        shared.tier.settled().await;
        assert_eq!(server.ask(&format!("EXISTS {key}")).number(), 0, "{at}: it is gone");
    }

    put(&shared, &sample).await;
    server.command(&[b"SET", source.as_bytes(), &value]);
    assert_eq!(look_up(&shared, &sample).await, Found::default(), "a variant where a record should be");
    shared.tier.settled().await;
    assert_eq!(server.ask(&format!("EXISTS {source}")).number(), 0);

    // Not even strings.
    put(&shared, &sample).await;
    for key in [&source, &variant, &hint] {
        server.ask(&format!("DEL {key}"));
        server.ask(&format!("RPUSH {key} a b"));
        assert_eq!(look_up(&shared, &sample).await.entry, None);
        shared.tier.settled().await;
        put(&shared, &sample).await;
        assert_eq!(look_up(&shared, &sample).await.entry.as_ref(), Some(&sample.entry), "{key} is put right");
    }
    assert!(shared.tier.is_up());

    // A hint that leads nowhere, or astray, is only a detour.
    let other = Sample::new("other");
    put(&shared, &other).await;
    let astray = format!("{:?}", other.variant);
    for wrong in ["nonsense", astray.as_str(), &"A".repeat(43)] {
        server.command(&[b"SET", hint.as_bytes(), wrong.as_bytes()]);
        assert_eq!(look_up(&shared, &sample).await.entry.as_ref(), Some(&sample.entry), "{wrong}");
        shared.tier.settled().await;
        assert_eq!(server.ask(&format!("GET {hint}")).text(), format!("{:?}", sample.variant), "put right");
    }
}

#[tokio::test]
async fn values_too_large_are_not_written_and_dead_records_neither() {
    let server = RedisServer::start();
    let shared = Shared::connected(&Settings { max_value_bytes: 10_000, ..settings(&server.url()) }).await;
    let large = Sample::with_picture("too-large", vec![1; 10_001]);
    let almost = Sample::with_picture("almost", vec![1; 9_990]);
    put(&shared, &large).await;
    put(&shared, &almost).await;
    assert_eq!(shared.writes("too_large"), 2, "the header counts too");
    assert_eq!(server.keys("pixgate:3:variant:*").len() + server.keys("pixgate:3:wish:*").len(), 0);

    let mut dead = (*large.record).clone();
    dead.lifetime.checked_at -= Duration::from_secs(26 * 3600);
    let source = Sample::new("dead").source;
    shared.tier.put_record(source, Arc::new(dead));
    shared.tier.settled().await;
    assert_eq!(shared.tier.record(source).await, None);
}

#[tokio::test]
async fn a_queue_that_is_full_drops() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    server.hang();
    let samples: Vec<_> = (0..30).map(|at| Sample::with_picture(&format!("q-{at}"), vec![at; 3_000_000])).collect();
    let started = Instant::now();
    for sample in &samples {
        shared.tier.put_variant(sample.source, sample.wish, sample.variant, Arc::clone(&sample.entry));
    }
    assert!(started.elapsed() < Duration::from_secs(1), "who puts does not wait");
    assert!(shared.writes("dropped") >= 9, "64 MB of 90 may wait: {}", shared.writes("dropped"));
    server.resume();
    shared.tier.settled().await;
}

#[tokio::test]
async fn scripts_that_redis_lost_are_loaded_again() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    let sample = Sample::new("scripts");
    put(&shared, &sample).await;
    for _ in 0..2 {
        assert_eq!(look_up(&shared, &sample).await.entry.as_ref(), Some(&sample.entry));
        assert_eq!(server.ask("SCRIPT FLUSH").text(), "OK");
    }
    assert_eq!(shared.lookups("error"), 0);
}
