//! Writing behind: what is counted arrives, what is put is there, what does not fit is counted, and nobody waits.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pixgate::format::ImageFormat::Avif;
use pixgate::record::SourceKey;
use pixgate::store::{Answered, Known, NewSource, NewVariant, Purge, Recorder, Scope, SourceQuery};
use tokio::time::Instant;

use crate::harness::{Folder, Opened, key, now, record, settings, until, url, variant};
use crate::support::PostgresServer;

fn put(recorder: &Recorder, name: &str) {
    recorder.source(key(name), &url(name), Arc::new(record(name)), now());
}

fn describe(recorder: &Recorder, name: &str, variant: &NewVariant) {
    put(recorder, name);
    recorder.variant(variant.source, variant.key, variant.meta.clone());
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Requests and hits of all sources, and the same from the totals.
async fn counted(opened: &Opened) -> ((u64, u64), (u64, u64)) {
    let query = SourceQuery { limit: 1_000, ..SourceQuery::default() };
    let page = opened.store.sources(query).await.expect("an answer");
    let sum = page.sources.iter().fold((0, 0), |sum, row| (sum.0 + row.requests, sum.1 + row.hits));
    let stats = opened.store.stats().await.expect("an answer");
    (sum, (stats.requests(), stats.hits()))
}

/// Two replicas, four threads each, over 40 variants that both describe.
async fn two_replicas(url: &str) {
    let replicas = [Opened::over(url).await, Opened::over(url).await];
    let recorders: Vec<_> = replicas.iter().map(|opened| Arc::new(opened.recorder())).collect();
    let variants: Vec<_> = (0..40).map(|n| variant(&format!("two/{n}"), 640, Avif, 1_000)).collect();
    let each = 25_000;
    let threads = recorders.iter().flat_map(|recorder| (0..4).map(move |_| recorder)).map(|recorder| {
        let (recorder, variants) = (Arc::clone(recorder), variants.clone());
        tokio::task::spawn_blocking(move || {
            for turn in 0..each {
                let at = turn % variants.len();
                let answered = if turn % 5 == 0 { Answered::Miss } else { Answered::Memory };
                let known = recorder.hit(&variants[at].source, &variants[at].key, answered, now());
                if known == Known::No {
                    describe(&recorder, &format!("two/{at}"), &variants[at]);
                }
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.await.expect("counts");
    }
    for recorder in &recorders {
        assert!(recorder.shutdown(soon()).await, "everything is written");
    }
    let (requests, hits) = (8 * each as u64, 8 * each as u64 * 4 / 5);
    assert_eq!(counted(&replicas[0]).await, ((requests, hits), (requests, hits)));
    assert_eq!(replicas.iter().map(|opened| opened.rows("dropped")).sum::<u64>(), 0);
    let stats = replicas[1].store.stats().await.expect("an answer");
    assert_eq!((stats.sources, stats.formats[0].variants, stats.formats[0].renders), (40, 40, 80));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_replicas_count_is_in_sqlite_after_a_clean_stop() {
    let folder = Folder::new();
    two_replicas(&folder.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_replicas_count_is_in_postgres_after_a_clean_stop() {
    let server = PostgresServer::start();
    two_replicas(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_clean_stop_only_counts_since_the_last_flush_are_lost() {
    let folder = Folder::new();
    let opened = Opened::over(&folder.url()).await;
    let recorder = opened.recorder();
    let variant = variant("lost", 640, Avif, 1_000);
    describe(&recorder, "lost", &variant);
    for _ in 0..10 {
        recorder.hit(&variant.source, &variant.key, Answered::Memory, now());
    }
    recorder.written().await;
    // One row for the variant; the record and the variant itself are two more.
    until("a flush", || opened.rows("ok") >= 3).await;
    for _ in 0..5 {
        recorder.hit(&variant.source, &variant.key, Answered::Memory, now());
    }
    drop(recorder);
    assert_eq!(opened.store.record(key("lost")).await, Some(record("lost")));
    let ((requests, _), _) = counted(&opened).await;
    assert!((10..=15).contains(&requests), "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_there_when_it_is_said_to_be_written() {
    let folder = Folder::new();
    let slow = pixgate::store::Settings { flush_interval: Duration::from_secs(600), ..settings(&folder.url()) };
    let opened = Opened::connected(slow).await;
    let recorder = opened.recorder();
    for n in 0..50 {
        let name = format!("there/{n}");
        put(&recorder, &name);
        recorder.written().await;
        assert!(opened.store.record(key(&name)).await.is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_overtakes_no_record_and_no_record_a_purge() {
    let folder = Folder::new();
    let opened = Opened::over(&folder.url()).await;
    let recorder = opened.recorder();
    let second = Duration::from_secs(1);
    for round in 0..20 {
        let name = format!("purge/{round}");
        put(&recorder, &name);
        recorder.purged(key(&name), now() + second);
        if round % 2 == 0 {
            let mut new = record("new");
            new.lifetime.checked_at = now() + 2 * second;
            recorder.source(key(&name), &url(&name), Arc::new(new), now());
        }
        recorder.written().await;
        assert_eq!(opened.store.record(key(&name)).await.is_some(), round % 2 == 0, "{name}");
    }
    put(&recorder, "soft");
    recorder.purge(Purge { scope: Scope::Prefix(url("so")), soft: true, at: now() });
    recorder.written().await;
    let soft = opened.store.record(key("soft")).await.expect("kept");
    assert!(soft.lifetime.ttl.is_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_counted_and_what_fits_arrives_when_the_store_does() {
    let folder = Folder::new();
    let place = folder.0.join("later");
    let later = format!("sqlite:{}", place.join("pixgate.db").display());
    let opened = Opened::new(settings(&later));
    let recorder = opened.recorder();
    let began = std::time::Instant::now();
    let shared = Arc::new(record("many"));
    let many = 40_000;
    for n in 0..many {
        let name = url(&format!("many/{n}"));
        recorder.source(SourceKey::of_normalised(&name), &name, Arc::clone(&shared), now());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits: {:?}", began.elapsed());
    assert!(!opened.store.is_up());
    let dropped = opened.rows("dropped");
    assert!(dropped > 0 && dropped < many, "{dropped}");
    std::fs::create_dir(&place).expect("made");
    opened.up().await;
    recorder.written().await;
    let stats = opened.store.stats().await.expect("an answer");
    assert_eq!(stats.sources, many - dropped);
    assert!(recorder.shutdown(soon()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_a_store_ends_in_time_and_says_what_is_lost() {
    let folder = Folder::new();
    let opened = Opened::new(settings(&format!("sqlite:{}", folder.0.join("nowhere/pixgate.db").display())));
    let recorder = opened.recorder();
    put(&recorder, "lost");
    let variant = variant("lost", 64, Avif, 1);
    recorder.hit(&variant.source, &variant.key, Answered::Miss, now());
    let began = std::time::Instant::now();
    assert!(!recorder.shutdown(Instant::now() + Duration::from_millis(300)).await);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(recorder.shutdown(soon()).await, "the second time there is nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_were_not_seen_for_long_are_forgotten() {
    let folder = Folder::new();
    let day = Duration::from_secs(86_400);
    let opened = Opened::connected(pixgate::store::Settings { retention: day, ..settings(&folder.url()) }).await;
    let recorder = opened.recorder();
    let recent = SystemTime::now();
    for (name, seen) in [("long-ago", recent - 2 * day), ("recent", recent)] {
        recorder.source(key(name), &url(name), Arc::new(record(name)), seen);
    }
    recorder.written().await;
    let mut left = 2;
    let began = std::time::Instant::now();
    while left > 1 {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain: one is forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = opened.store.stats().await.expect("an answer").sources;
    }
    assert!(opened.store.record(key("recent")).await.is_some() && opened.store.record(key("long-ago")).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_writes_is_waited_for() {
    let folder = Folder::new();
    let opened = Opened::over(&folder.url()).await;
    let recorder = opened.recorder();
    put(&recorder, "first");
    recorder.written().await;
    let pool = sqlx::SqlitePool::connect(&folder.url()).await.expect("a file");
    let mut other = pool.acquire().await.expect("a connection");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *other).await.expect("a lock");
    put(&recorder, "second");
    assert!(opened.store.record(key("first")).await.is_some(), "readers do not wait");
    assert!(opened.store.record(key("second")).await.is_none());
    sqlx::query("COMMIT").execute(&mut *other).await.expect("unlocked");
    recorder.written().await;
    assert!(opened.store.record(key("second")).await.is_some());
}

/// More sources than there may be, then a recorder.
async fn a_store_that_is_too_large(url: &str) {
    let small = pixgate::store::Settings { max_bytes: 1_000_000, ..settings(url) };
    let opened = Opened::connected(small).await;
    let old = |n: u32| now() + Duration::from_secs(n.into());
    let row = |n: u32| {
        let name = format!("room/{n}");
        let long = format!("{}?{}", crate::harness::url(&name), "x".repeat(400));
        NewSource { key: key(&name), url: long.into(), record: Arc::new(record(&name)), seen_at: old(n) }
    };
    for part in 0..20 {
        let sources = (part * 100..(part + 1) * 100).map(row).collect();
        opened.write(pixgate::store::Batch { sources, ..Default::default() }).await;
    }
    // PostgreSQL counts a moment later.
    let counted = Instant::now() + Duration::from_secs(30);
    let extent = async || opened.store.extent().await.expect("an answer");
    while extent().await.bytes <= 1_000_000 {
        assert!(Instant::now() < counted, "{:?}", extent().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (recorder, other) = (opened.recorder(), Opened::connected(opened.settings.clone()).await);
    let _another = other.recorder();
    let enough = Instant::now() + Duration::from_secs(30);
    while extent().await.bytes > 1_000_000 {
        assert!(Instant::now() < enough, "{:?}", extent().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What is written meanwhile arrives.
    put(&recorder, "room/new");
    recorder.written().await;
    assert!(opened.store.record(key("room/new")).await.is_some());
    assert!(opened.store.record(key("room/0")).await.is_none(), "the oldest");
    assert!(opened.store.record(key("room/1999")).await.is_some(), "the newest");
    let left = extent().await;
    assert!(left.bytes > 500_000, "not more than has to be: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_does_not_grow_beyond_its_bound() {
    let folder = Folder::new();
    a_store_that_is_too_large(&folder.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_does_not_grow_beyond_its_bound() {
    let server = PostgresServer::start();
    a_store_that_is_too_large(&server.url()).await;
}
