//! What PostgreSQL may do: be absent, die, hang, be full, come back. Law: nobody waits longer than the limit, the pool stays
//! within its maximum, nothing that was counted is lost, and when it is well again it is used again, without anybody's help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pixgate::format::ImageFormat::Avif;
use pixgate::store::{Answered, Batch, Connections, Settings};
use sqlx::{Connection as _, PgConnection};

use crate::harness::{Opened, by_hand, key, now, on_server, record, settings, source, stamp, until, url, variant};
use crate::support::PostgresServer;

const MAX: u32 = 5;
/// A look-up's own limit is half a second; a busy machine may be late.
const BOUND: Duration = Duration::from_millis(1_500);

fn few(server: &PostgresServer) -> Settings {
    Settings {
        max_connections: MAX,
        acquire_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(1),
        ..settings(&server.url())
    }
}

/// Thirty-two who look up and count until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    counted: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Duration>>,
}

impl Load {
    fn start(opened: &Opened, recorder: &Arc<pixgate::store::Recorder>) -> Self {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = |n: usize| {
            let (stop, counted) = (Arc::clone(&stop), Arc::clone(&counted));
            let (store, recorder) = (Arc::clone(&opened.store), Arc::clone(recorder));
            tokio::spawn(async move {
                let variant = variant(&format!("load/{n}"), 640, Avif, 1_000);
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let _found = store.record(variant.source).await;
                    recorder.hit(&variant.source, &variant.key, Answered::Memory, now());
                    counted.fetch_add(1, Ordering::Relaxed);
                    longest = longest.max(began.elapsed());
                    let Connections { idle, used } = store.connections();
                    assert!(idle + used <= MAX, "{idle} idle and {used} used");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                longest
            })
        };
        let tasks = (0..32).map(task).collect();
        Self { stop, counted, tasks }
    }

    async fn goes_on(&self) {
        let before = self.counted.load(Ordering::Relaxed);
        until("the load goes on", || self.counted.load(Ordering::Relaxed) > before + 200).await;
    }

    /// What was counted, and the longest anybody waited.
    async fn end(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for task in self.tasks {
            longest = longest.max(task.await.expect("no failure"));
        }
        (self.counted.load(Ordering::Relaxed), longest)
    }
}

/// A load over a server to which `fault` happens; afterwards everything is there and nothing is left open.
async fn survives(server: &mut PostgresServer, mut fault: impl AsyncFnMut(&mut PostgresServer, &Opened, &Load)) {
    let opened = Opened::connected(few(server)).await;
    let recorder = Arc::new(opened.recorder());
    for n in 0..32 {
        let name = format!("load/{n}");
        recorder.source(key(&name), &url(&name), Arc::new(record(&name)), now());
    }
    recorder.written().await;
    let load = Load::start(&opened, &recorder);
    load.goes_on().await;
    fault(server, &opened, &load).await;
    opened.up().await;
    load.goes_on().await;
    let (counted, longest) = load.end().await;
    assert!(longest < BOUND, "somebody waited {longest:?}");
    assert!(recorder.shutdown(tokio::time::Instant::now() + Duration::from_secs(60)).await, "everything is written");
    let stats = opened.store.stats().await.expect("an answer");
    assert_eq!((stats.requests(), stats.sources), (counted, 32), "every request is counted once");
    assert_eq!(stats.top_sources.len(), 10);
    assert_eq!(opened.rows("dropped"), 0);
    nothing_leaks(server, &opened).await;
}

async fn nothing_leaks(server: &PostgresServer, opened: &Opened) {
    until("nothing is in use", || opened.store.connections().used == 0).await;
    let pool = by_hand(server).await;
    let began = Instant::now();
    // Those that were cut are ended by the server, each as it finds out.
    while on_server(&pool).await > i64::from(opened.store.connections().idle) {
        assert!(began.elapsed() < Duration::from_secs(30), "{} are on the server", on_server(&pool).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(opened.store.connections().idle <= MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_under_load() {
    let mut server = PostgresServer::start();
    survives(&mut server, async |server, opened, load| {
        server.kill();
        opened.down().await;
        load.goes_on().await;
        server.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_three_times_under_load() {
    let mut server = PostgresServer::start();
    survives(&mut server, async |server, opened, load| {
        for _ in 0..3 {
            server.restart();
            load.goes_on().await;
            opened.up().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_under_load_and_well_again() {
    let mut server = PostgresServer::start();
    survives(&mut server, async |server, opened, load| {
        server.hang();
        opened.down().await;
        let began = Instant::now();
        assert_eq!(opened.store.record(key("load/0")).await, None);
        assert!(began.elapsed() < Duration::from_millis(100), "known to be down: {:?}", began.elapsed());
        load.goes_on().await;
        server.resume();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_ended_by_the_server_under_load() {
    let mut server = PostgresServer::start();
    survives(&mut server, async |server, _, load| {
        let pool = by_hand(server).await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pixgate'";
        for _ in 0..10 {
            sqlx::query(sql).execute(&pool).await.expect("ended");
            load.goes_on().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_start_costs_nothing_and_is_found_when_it_comes() {
    let mut server = PostgresServer::prepared(&[]);
    let opened = Opened::new(few(&server));
    let recorder = opened.recorder();
    recorder.source(key("early"), &url("early"), Arc::new(record("early")), now());
    let variant = variant("early", 640, Avif, 1_000);
    let began = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(opened.store.record(key("early")).await, None);
        recorder.hit(&variant.source, &variant.key, Answered::Memory, now());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(opened.store.stats().await.is_err());
    server.start_again();
    opened.up().await;
    recorder.written().await;
    assert_eq!(opened.store.record(key("early")).await, Some(record("early")));
    assert!(recorder.shutdown(tokio::time::Instant::now() + Duration::from_secs(30)).await);
    assert_eq!(opened.store.stats().await.expect("an answer").requests(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_its_connection_limit_is_used_when_there_is_room() {
    let server =
        PostgresServer::start_with(&["max_connections=8", "superuser_reserved_connections=0", "max_wal_senders=0"]);
    let opened = Opened::connected(few(&server)).await;
    let recorder = opened.recorder();
    recorder.source(key("full"), &url("full"), Arc::new(record("full")), now());
    recorder.written().await;
    // Others take every place there is.
    let mut others = Vec::new();
    while let Ok(other) = PgConnection::connect(&server.url()).await {
        others.push(other);
    }
    assert!(others.len() >= 3, "{}", others.len());
    let began = Instant::now();
    let asked = (0..50).map(|_| {
        let store = Arc::clone(&opened.store);
        tokio::spawn(async move { store.record(key("full")).await })
    });
    for one in asked.collect::<Vec<_>>() {
        // Answered over what it has, or not at all; never late.
        one.await.expect("no failure");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    for other in others {
        other.close().await.expect("closed");
    }
    opened.up().await;
    let began = Instant::now();
    while opened.store.record(key("full")).await.is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: there is room again");
    }
    nothing_leaks(&server, &opened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spike_waits_within_its_limit_and_within_the_pool() {
    let server = PostgresServer::start();
    let spiky = Settings { acquire_timeout: Duration::from_secs(10), ..few(&server) };
    let opened = Arc::new(Opened::connected(spiky).await);
    let sources = (0..200).map(|n| format!("spike/{n}")).map(|name| source(&name, record(&name))).collect();
    opened.write(Batch { sources, ..Batch::default() }).await;
    let pool = by_hand(&server).await;
    let (store, most) = (Arc::clone(&opened), Arc::new(AtomicU64::new(0)));
    let tasks = (0..2_000).map(|n| {
        let (store, most) = (Arc::clone(&store), Arc::clone(&most));
        tokio::spawn(async move {
            let began = Instant::now();
            let variants = store.store.variants(key(&format!("spike/{}", n % 200)), 10).await;
            let Connections { idle, used } = store.store.connections();
            most.fetch_max((idle + used).into(), Ordering::Relaxed);
            (variants.is_ok(), began.elapsed())
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let on_it = on_server(&pool).await;
    let mut times = Vec::new();
    for task in tasks {
        let (well, time) = task.await.expect("no failure");
        assert!(well, "an error after {time:?}");
        times.push(time);
    }
    times.sort_unstable();
    assert!(times[1_999] < Duration::from_secs(10), "{:?}", times[1_999]);
    assert!(most.load(Ordering::Relaxed) <= MAX.into() && on_it <= MAX.into(), "{most:?}, {on_it} on the server");
    assert!(opened.store.is_up(), "busy is not down");
    println!("2,000 operations over {MAX} connections: median {:?}, longest {:?}", times[1_000], times[1_999]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_reached_is_an_error_in_time() {
    let server = PostgresServer::start();
    let short = Settings { max_connections: 1, acquire_timeout: Duration::from_millis(300), ..few(&server) };
    let opened = Opened::connected(short).await;
    // The gate is held by another for longer than a statement may take.
    let pool = by_hand(&server).await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE gate SET turns = 0").execute(&mut *other).await.expect("held");
    let began = Instant::now();
    let batch = Arc::new(Batch { sources: vec![source("held", record("held"))], ..Batch::default() });
    let stamp = stamp();
    let write = opened.store.write(Arc::clone(&batch), stamp);
    let (written, asked) = tokio::join!(write, async {
        // The only connection is taken by then.
        until("it is in use", || opened.store.connections().used == 1).await;
        let asked = opened.store.stats().await;
        (asked.is_err(), began.elapsed())
    });
    let error = written.expect_err("the server ends it");
    assert!(error.is_transient(), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(asked.0 && asked.1 < Duration::from_secs(2), "{asked:?}");
    other.rollback().await.expect("freed");
    opened.up().await;
    opened.store.write(batch, stamp).await.expect("written");
    assert_eq!(opened.store.record(key("held")).await, Some(record("held")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaks_in_ten_thousand_operations_with_faults() {
    let mut server = PostgresServer::start();
    let opened = Arc::new(Opened::connected(few(&server)).await);
    opened.write(Batch { sources: vec![source("leak", record("leak"))], ..Batch::default() }).await;
    let done = Arc::new(AtomicU64::new(0));
    let tasks = (0..20_u64).map(|worker| {
        let (opened, done) = (Arc::clone(&opened), Arc::clone(&done));
        tokio::spawn(async move {
            for turn in 0..500 {
                match (worker + turn) % 4 {
                    0 => drop(opened.store.record(key("leak")).await),
                    1 => drop(opened.store.variants(key("leak"), 10).await),
                    // Given up in the middle.
                    2 => drop(tokio::time::timeout(Duration::from_micros(turn * 20), opened.store.stats()).await),
                    // Refused by the server: no text holds a zero octet.
                    _ => {
                        let refused = Batch { sources: vec![source("a\0b", record("leak"))], ..Batch::default() };
                        assert!(opened.store.write(Arc::new(refused), stamp()).await.is_err());
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
                let Connections { idle, used } = opened.store.connections();
                assert!(idle + used <= MAX, "{idle} idle and {used} used");
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for (at, step) in [(2_000, 0), (4_000, 1), (6_000, 2)] {
        until("the operations go on", || done.load(Ordering::Relaxed) >= at).await;
        match step {
            0 => server.restart(),
            1 => {
                server.hang();
                opened.down().await;
                server.resume();
            }
            _ => {
                let pool = by_hand(&server).await;
                let sql =
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pixgate'";
                sqlx::query(sql).execute(&pool).await.expect("ended");
            }
        }
        opened.up().await;
    }
    for task in tasks {
        task.await.expect("no failure");
    }
    assert_eq!(done.load(Ordering::Relaxed), 10_000);
    opened.up().await;
    assert!(opened.store.record(key("leak")).await.is_some());
    nothing_leaks(&server, &opened).await;
}
