//! The pool of connections: what is dead is not handed out, what is unused is closed, what passes by itself is asked again.

use std::sync::Arc;
use std::time::Duration;

use pixgate::store::{Batch, Connections, Settings};
use sqlx::Executor as _;

use crate::harness::{Opened, by_hand, key, on_server, record, settings, source, until};
use crate::support::PostgresServer;

const END: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pixgate'";

async fn filled(server: &PostgresServer) -> Arc<Opened> {
    let opened = Opened::over(&server.url()).await;
    opened.write(Batch { sources: vec![source("one", record("one"))], ..Batch::default() }).await;
    Arc::new(opened)
}

/// How often it was asked, whatever came of it.
fn asked(opened: &Opened, op: &str) -> u64 {
    opened.metric(&format!("pixgate_metadata_seconds_count{{op=\"{op}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_unused_is_not_handed_out() {
    let server = PostgresServer::start();
    let (opened, pool) = (filled(&server).await, by_hand(&server).await);
    for round in 0..10 {
        until("a connection is unused", || opened.store.connections().idle > 0).await;
        pool.execute(END).await.expect("ended");
        // A look-up is tried once: over a dead connection it would find nothing.
        assert!(opened.store.record(key("one")).await.is_some(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_is_closed() {
    let server = PostgresServer::start();
    let settings = Settings { idle_timeout: Duration::from_millis(300), ..settings(&server.url()) };
    let opened = Arc::new(Opened::connected(settings).await);
    let asked = (0..8).map(|_| {
        let opened = Arc::clone(&opened);
        tokio::spawn(async move { opened.store.stats().await.is_ok() })
    });
    for one in asked.collect::<Vec<_>>() {
        assert!(one.await.expect("no panic"));
    }
    assert!(opened.store.connections().idle > 1, "{:?}", opened.store.connections());
    // The question whether the store is there keeps one alive at most.
    until("unused connections are closed", || {
        let Connections { idle, used } = opened.store.connections();
        idle + used <= 1
    })
    .await;
    assert!(on_server(&by_hand(&server).await).await <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_asked_again_and_what_is_refused_is_not() {
    let server = PostgresServer::start();
    let (opened, pool) = (filled(&server).await, by_hand(&server).await);
    let mut lock = pool.begin().await.expect("a transaction");
    lock.execute("LOCK TABLE variants IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let theirs = Arc::clone(&opened);
    let question = tokio::spawn(async move { theirs.store.variants(key("one"), 10).await.is_ok() });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pixgate' AND wait_event_type = 'Lock'";
    let began = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.expect("an answer") == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: it is asked");
    }
    pool.execute(END).await.expect("ended");
    until("it was asked once", || asked(&opened, "variants") == 1).await;
    lock.rollback().await.expect("freed");
    assert!(question.await.expect("no panic"), "asked again, and answered");
    assert_eq!(asked(&opened, "variants"), 2);

    pool.execute("ALTER TABLE variants RENAME TO gone").await.expect("renamed");
    assert!(opened.store.variants(key("one"), 10).await.is_err());
    assert_eq!(asked(&opened, "variants"), 3, "refused once");
}
