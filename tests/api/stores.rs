//! PostgreSQL behind running replicas: what is known after kill -9 and purges, a spike, and a server that is killed, hangs and
//! has no connection left while pictures are asked for. Law: real servers, hurt from outside; every picture is a picture,
//! and what a fault is meant to do is seen to have happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::app::{App, Setup, TempDir};
use crate::harness::client::enc;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{busy, encoded, jpeg, png};
use crate::harness::postgres::PostgresServer;
use crate::harness::redis::RedisServer;
use crate::metadata::{stop, up};
use crate::purge::purge;
use crate::replicas::failures::{load, stop_load};
use crate::replicas::replica;

fn on(server: &PostgresServer) -> Setup {
    Setup::new().text("metadata.url", &server.url()).set("metadata.max_connections", 5)
}

/// Connections that the service says it has; both numbers must be there.
async fn pool(app: &App) -> u32 {
    let page = app.admin("/metrics", &[]).await.text();
    let of = |state: &str| -> u32 {
        let name = format!("pixgate_metadata_pool_connections{{state=\"{state}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a whole number")
    };
    of("idle") + of("used")
}

/// Looks at the connections of the service that the server knows, until `ending`: the most of them for longer than it takes
/// to end one that another takes the place of, and how often it looked.
fn watch(server: &PostgresServer, ending: &Arc<AtomicBool>) -> JoinHandle<(i64, u32)> {
    const SQL: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pixgate'";
    const PATIENCE: Duration = Duration::from_millis(500);
    const LOOKS: usize = 20;
    let (url, ending) = (server.url(), Arc::clone(ending));
    tokio::spawn(async move {
        let (mut most, mut looks, mut own) = (0, 0, None);
        let mut last = VecDeque::from([0; LOOKS]);
        while !ending.load(Ordering::SeqCst) {
            if own.is_none() {
                own = timeout(PATIENCE, PgConnection::connect(&url)).await.ok().and_then(Result::ok);
            }
            if let Some(connection) = &mut own {
                match timeout(PATIENCE, sqlx::query_scalar::<_, i64>(SQL).fetch_one(connection)).await {
                    Ok(Ok(count)) => {
                        last.pop_front();
                        last.push_back(count);
                        let lasting = last.iter().copied().min().unwrap_or_default();
                        (most, looks) = (lasting.max(most), looks + 1);
                    }
                    // Killed or hung; another one is tried.
                    _ => own = None,
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        (most, looks)
    })
}

/// The time within which all but one in `part` of what the lines of a histogram count have ended, and how many those are.
fn within(page: &str, name: &str, labels: &str, part: f64) -> (f64, f64) {
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let count = format!("{name}_count{labels} ");
    let all = number(page.lines().find_map(|line| line.strip_prefix(count.as_str())).expect("a count"));
    let bucket = format!("{name}_bucket{{le=\"");
    let buckets = page.lines().filter(|line| labels.is_empty() || line.contains(&labels[1..labels.len() - 1]));
    let mut buckets = buckets.filter_map(|line| line.strip_prefix(bucket.as_str())).map(|line| {
        let (bound, rest) = line.split_once('"').expect("a bound");
        let count = rest.rsplit(' ').next().map(number).expect("a count");
        (bound.parse().unwrap_or(f64::INFINITY), count)
    });
    let (bound, _) = buckets.find(|(_, count)| *count >= all * (1.0 - 1.0 / part)).expect("a bucket");
    (bound, all)
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
    // With a Redis, records would come from there.
    let app = Arc::new(on(&server).text("redis.url", "").set("limits.queue", 4096).start().await);
    up(&app).await;
    let ending = Arc::new(AtomicBool::new(false));
    let watch = watch(&server, &ending);
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
    ending.store(true, Ordering::SeqCst);
    let (most, looks) = watch.await.expect("no panic");
    assert!((1..=5).contains(&most) && looks > 5, "{most} connections at most in {looks} looks");
    let page = app.admin("/metrics", &[]).await.text();
    let (wait, acquired) = within(&page, "pixgate_metadata_acquire_seconds", "", f64::INFINITY);
    assert!(acquired >= 1.0 && wait <= 1.0, "{acquired} connections within {wait} s");
    assert!(pool(&app).await <= 5);
    for op in ["record", "write"] {
        let (p99, count) = within(&page, "pixgate_metadata_seconds", &format!("{{op=\"{op}\"}}"), 100.0);
        println!("{count} times {op}: 99 in a hundred within {p99} s");
        assert!(count >= 1.0 && p99 <= 1.0, "{op}: {p99} s");
    }
    let app = Arc::into_inner(app).expect("the clients are gone");
    stop(app).await;
    let later = on(&server).start().await;
    up(&later).await;
    let stats = later.admin("/stats", &[]).await.json();
    assert_eq!((&stats["requests"], &stats["sources"]), (&2000.into(), &200.into()), "{stats}");
}

#[tokio::test]
async fn what_is_fetched_again_while_a_purge_waits_for_a_hung_replica_stays() {
    let (redis, server) = (RedisServer::start(), PostgresServer::start());
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    let url = origin.url("/a.jpg");
    let setup = || on(&server).text("redis.url", &redis.url());
    let apps = [replica(setup()).await, replica(setup()).await];
    for app in &apps {
        up(app).await;
        assert_eq!(app.image(&url, "w=16&f=png").await.status, 200);
    }
    let hung = Pid::from_raw(apps[1].id().try_into().expect("a process id")).expect("a process id");
    kill_process(hung, Signal::STOP).expect("SIGSTOP is delivered");
    let before = origin.hits("/a.jpg");
    let document = format!(r#"{{"url":"{url}"}}"#);
    let (answer, ()) = tokio::join!(purge(&apps[0], &document), async {
        // It is in force at once, and waited for until two seconds are over.
        sleep(Duration::from_millis(400)).await;
        assert_eq!(apps[0].image(&url, "w=16&f=png").await.status, 200);
        assert_eq!(origin.hits("/a.jpg"), before + 1);
    });
    let report = answer.json();
    assert_eq!((&report["replicas"], &report["acknowledged"]), (&2.into(), &1.into()), "{report}");
    kill_process(hung, Signal::CONT).expect("SIGCONT is delivered");
    for app in apps {
        stop(app).await;
    }
    let again = origin.hits("/a.jpg");
    let app = on(&server).text("redis.url", "").start().await;
    up(&app).await;
    assert_eq!(app.get(&format!("/placeholder?url={}", enc(&url))).await.status, 200);
    assert_eq!(origin.hits("/a.jpg"), again, "known from after the purge");
}

#[tokio::test]
async fn a_start_with_redis_purges_nothing_that_the_store_knows() {
    let (redis, server) = (RedisServer::start(), PostgresServer::start());
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    let (kept, purged) = (origin.url("/a.jpg"), origin.url("/a.jpg?purged"));
    let setup = || on(&server).text("redis.url", &redis.url());
    let source = async |app: &App, url: &str| {
        let page = app.admin(&format!("/sources?values=true&prefix={}", enc(url)), &[]).await.json();
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

/// What goes wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `kill -9`, and started again.
    Killed,
    /// SIGSTOP, and SIGCONT.
    Hung,
    /// Others have all its connections, and give them back.
    Full,
}

async fn through(fault: Fault) {
    let few: &[&str] = &["max_connections=8", "superuser_reserved_connections=0", "max_wal_senders=0"];
    let mut server = PostgresServer::start_with(if fault == Fault::Full { few } else { &[] });
    let origin = Origin::start().await;
    for n in 0..20 {
        let file = encoded(&busy(160, 80, n), image::ImageFormat::Jpeg);
        origin.set(&format!("/p{n}.jpg"), Reply::new(file, "image/jpeg"));
    }
    let app = on(&server).text("metadata.acquire_timeout", "1s").start().await;
    up(&app).await;
    let mut others = Vec::new();
    if fault == Fault::Full {
        // Before the load, so that its pool is to grow when there is no place.
        while let Ok(other) = PgConnection::connect(&server.url()).await {
            others.push(other);
        }
        assert!(others.len() >= 3, "{}", others.len());
    }
    let ending = Arc::new(AtomicBool::new(false));
    let (load, watch) = (load(&app, &origin, &ending), watch(&server, &ending));
    tokio::time::sleep(Duration::from_millis(700)).await;
    match fault {
        Fault::Killed => server.kill(),
        Fault::Hung => server.hang(),
        Fault::Full => assert!(server.log().contains("too many clients"), "the limit is reached: {}", server.log()),
    }
    for _ in 0..25 {
        sleep(Duration::from_millis(100)).await;
        assert!(pool(&app).await <= 5, "{fault:?}");
    }
    match fault {
        Fault::Killed => server.start_again(),
        Fault::Hung => server.resume(),
        Fault::Full => others.clear(),
    }
    sleep(Duration::from_millis(700)).await;
    let answered = stop_load(load, &ending, &format!("{fault:?}")).await;
    let (most, _) = watch.await.expect("no panic");
    // Connections that were cut while the server hung are there until it finds out.
    assert!(most <= if fault == Fault::Hung { 10 } else { 5 }, "{fault:?}: {most} connections");
    up(&app).await;
    let warnings = app.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 20, "{fault:?}: a line a change of state, not a line a request:\n{}", app.log());
    stop(app).await;
    let later = on(&server).start().await;
    up(&later).await;
    let stats = later.admin("/stats", &[]).await.json();
    assert_eq!(stats["requests"], answered, "{fault:?}: every answer is counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_killed_fails_no_picture() {
    through(Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_hangs_fails_no_picture() {
    through(Fault::Hung).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_without_connections_fails_no_picture() {
    through(Fault::Full).await;
}
