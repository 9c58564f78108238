//! What a store that is there does not take: rows that it refuses, rows that take too long, all of them. Law: what cannot be
//! written holds nothing else up and is counted; what is given up is said again; a purge is never given up for being late.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pixgate::format::ImageFormat::Avif;
use pixgate::store::{Answered, Known, Purge, Recorder, Scope, Settings};
use sqlx::{AssertSqlSafe, Executor as _, PgPool, SqlitePool};
use tokio::time::Instant;

use crate::fill;
use crate::harness::{Folder, Opened, by_hand, key, now, record, settings, until, url, variant};
use crate::support::PostgresServer;

fn put(recorder: &Recorder, name: &str) {
    recorder.source(key(name), &url(name), Arc::new(record(name)), now());
}

fn limited(server: &PostgresServer) -> Settings {
    Settings { statement_timeout: Duration::from_millis(300), ..settings(&server.url()) }
}

/// Puts `names` while nothing is written, so that they are in one batch, and waits for their fate.
async fn together(opened: &Opened, pool: &PgPool, recorder: &Recorder, names: &[String]) {
    let mut gate = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE gate SET turns = turns").execute(&mut *gate).await.expect("held");
    put(recorder, "first");
    until("the first one waits", || opened.store.connections().used == 1).await;
    names.iter().for_each(|name| put(recorder, name));
    gate.rollback().await.expect("freed");
    recorder.written().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_or_takes_too_long_takes_no_other_with_it() {
    let server = PostgresServer::start();
    let opened = Opened::connected(limited(&server)).await;
    let pool = by_hand(&server).await;
    let trap = "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF NEW.url LIKE '%slow%' THEN PERFORM pg_sleep(60); END IF; \
                IF NEW.url LIKE '%refused%' THEN RAISE EXCEPTION 'no' USING ERRCODE = '54000'; END IF; \
                RETURN NEW; END $$; \
                CREATE TRIGGER trap BEFORE INSERT OR UPDATE ON sources FOR EACH ROW EXECUTE FUNCTION trap()";
    pool.execute(trap).await.expect("set");
    for odd in ["refused", "slow"] {
        let recorder = opened.recorder();
        let dropped = opened.rows("dropped");
        let names: Vec<_> = (0..20).map(|n| format!("beside-{}/{n}", &odd[..1])).chain([odd.to_owned()]).collect();
        together(&opened, &pool, &recorder, &names).await;
        for name in &names {
            assert_eq!(opened.store.record(key(name)).await.is_some(), name != odd, "{name}");
        }
        assert_eq!(opened.rows("dropped"), dropped + 1, "{odd}");
        assert!(recorder.arrives());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_of_three_thousand_characters_takes_no_other_record_with_it() {
    let server = PostgresServer::start();
    let opened = Opened::over(&server.url()).await;
    let (pool, recorder) = (by_hand(&server).await, opened.recorder());
    let mut random = fastrand::Rng::with_seed(3);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(3_000).collect();
    let names: Vec<_> = (0..20).map(|n| format!("beside/{n}")).chain([format!("long?{noise}")]).collect();
    together(&opened, &pool, &recorder, &names).await;
    for name in &names {
        assert!(opened.store.record(key(name)).await.is_some(), "{}", &name[..6]);
    }
    assert_eq!(opened.rows("dropped"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_nothing_is_said_to_be_ill_and_no_purge_is_given_up() {
    let server = PostgresServer::start();
    let opened = Opened::connected(limited(&server)).await;
    let (pool, recorder) = (by_hand(&server).await, opened.recorder());
    put(&recorder, "purged");
    recorder.written().await;
    assert!(recorder.arrives());
    let mut gate = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE gate SET turns = turns").execute(&mut *gate).await.expect("held");
    recorder.purge(Purge { scope: Scope::All, soft: false, at: now() + Duration::from_secs(1) });
    until("it is said", || !recorder.arrives()).await;
    assert!(opened.store.is_up(), "it answers");
    assert!(opened.store.record(key("purged")).await.is_some());
    gate.rollback().await.expect("freed");
    recorder.written().await;
    assert!(recorder.arrives());
    assert!(opened.store.record(key("purged")).await.is_none(), "the purge was tried on");
    assert_eq!(opened.rows("dropped"), 0);
}

async fn turns(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT turns FROM gate").fetch_one(pool).await.expect("an answer")
}

async fn filled(folder: &Folder, sources: u64) -> SqlitePool {
    let pool = SqlitePool::connect(&folder.url()).await.expect("a file");
    pool.execute(AssertSqlSafe(fill::sqlite(sources))).await.expect("filled");
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_very_many_is_written_in_parts() {
    let folder = Folder::new();
    let opened = Opened::over(&folder.url()).await;
    let pool = filled(&folder, 9_000).await;
    let (recorder, before) = (opened.recorder(), turns(&pool).await);
    let purge = |scope| Purge { scope, soft: false, at: now() };
    recorder.purge(purge(Scope::All));
    recorder.written().await;
    let (times, parts): (i64, i64) =
        sqlx::query_as("SELECT min(purges) + max(purges), count(*) FROM sources WHERE content IS NULL")
            .fetch_one(&pool)
            .await
            .expect("an answer");
    assert_eq!((times, parts), (2, 9_000), "every source, once");
    assert_eq!(turns(&pool).await - before, 5, "2,000 in a part");
    recorder.purge(purge(Scope::Host("host7.example.com".into())));
    recorder.written().await;
    assert_eq!(turns(&pool).await - before, 6, "few are one part");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_of_very_many_does_not_hold_counts_up() {
    let folder = Folder::new();
    drop(Opened::over(&folder.url()).await);
    let pool = filled(&folder, 20_000).await;
    let day = Duration::from_secs(86_400);
    let opened = Opened::connected(Settings { retention: day, ..settings(&folder.url()) }).await;
    let recorder = opened.recorder();
    let variant = variant("counted", 64, Avif, 1);
    recorder.source(key("counted"), &url("counted"), Arc::new(record("counted")), SystemTime::now());
    let left = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM sources WHERE last_seen < 10000000")
            .fetch_one(&pool)
            .await
            .expect("one")
    };
    let started = std::time::Instant::now();
    while left().await == 20_000 {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: retention begins");
    }
    recorder.hit(&variant.source, &variant.key, Answered::Memory, SystemTime::now());
    while opened.store.stats().await.expect("an answer").requests() == 0 {
        assert!(left().await > 0, "counts wait until everything is forgotten");
    }
    assert!(left().await > 1_000, "{} are left", left().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_for_which_there_is_no_room_is_asked_for_again() {
    let folder = Folder::new();
    let place = folder.0.join("later");
    let opened = Opened::new(settings(&format!("sqlite:{}", place.join("pixgate.db").display())));
    let recorder = opened.recorder();
    (0..40_000).for_each(|n| put(&recorder, &format!("many/{n}")));
    assert!(opened.rows("dropped") > 0, "it is full");
    let variant = variant("hot", 64, Avif, 7);
    let hit = || recorder.hit(&variant.source, &variant.key, Answered::Memory, now());
    for _ in 0..3 {
        assert_eq!(hit(), Known::No, "it could not be told");
        put(&recorder, "hot");
        recorder.variant(variant.source, variant.key, variant.meta.clone());
    }
    std::fs::create_dir(&place).expect("made");
    opened.up().await;
    recorder.written().await;
    assert_eq!(hit(), Known::No);
    put(&recorder, "hot");
    recorder.variant(variant.source, variant.key, variant.meta.clone());
    assert_eq!(hit(), Known::Yes);
    recorder.written().await;
    assert_eq!(opened.store.variants(key("hot"), 10).await.expect("an answer").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_the_end_is_counted_as_lost_too() {
    let server = PostgresServer::start();
    let opened = Opened::connected(Settings { statement_timeout: Duration::from_secs(60), ..limited(&server) }).await;
    let (pool, recorder) = (by_hand(&server).await, opened.recorder());
    let mut gate = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE gate SET turns = turns").execute(&mut *gate).await.expect("held");
    put(&recorder, "under-way");
    until("it is under way", || opened.store.connections().used == 1).await;
    (0..9).for_each(|n| put(&recorder, &format!("waiting/{n}")));
    assert!(!recorder.shutdown(Instant::now() + Duration::from_millis(300)).await);
    assert_eq!(opened.rows("dropped"), 10);
}
