//! The metadata store behind the running service: what a restart brings back, what is counted, what is answered about it,
//! and that a store that fails is not noticed by whoever asks for pictures.
//! Law: a restart is a new process over the same file; counts are compared with what the clients sent.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, TempDir};
use crate::harness::client::enc;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{jpeg, png};
use crate::purge::purge;

pub(crate) fn over(dir: &TempDir) -> Setup {
    // Redis would bring back what is to come from the store.
    Setup::new().text("metadata.url", &format!("sqlite:{}", dir.path().join("meta.db").display())).text("redis.url", "")
}

pub(crate) async fn up(app: &App) {
    let started = Instant::now();
    while app.get("/readyz").await.json()["dependencies"]["metadata"] != "ok" {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", app.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ends the service as an orchestrator does.
pub(crate) async fn stop(mut app: App) {
    app.terminate();
    assert_eq!(app.exit_code().await, Some(0), "{}", app.log());
}

#[tokio::test]
async fn a_restart_without_redis_keeps_placeholders_and_fetches_pictures_again() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    origin.set("/a.jpg", Reply::new(jpeg(300, 200), "image/jpeg").header("etag", "\"v1\""));
    let url = origin.url("/a.jpg");
    let first = over(&dir).start().await;
    up(&first).await;
    assert_eq!(first.image(&url, "w=64&f=png").await.status, 200);
    let placeholder = first.get(&format!("/placeholder?url={}", enc(&url))).await;
    stop(first).await;
    let second = over(&dir).start().await;
    up(&second).await;
    let again = second.get(&format!("/placeholder?url={}", enc(&url))).await;
    assert_eq!((again.status, &again.body), (200, &placeholder.body));
    assert_eq!(origin.hits("/a.jpg"), 1, "known from before");
    let picture = second.image(&url, "w=64&f=png").await;
    assert_eq!((picture.look().size(), origin.hits("/a.jpg")), ((64, 43), 2), "pictures are made again");
}

#[tokio::test]
async fn validators_come_back_from_the_store_and_spare_the_body() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    origin.set("/a.jpg", Reply::new(jpeg(300, 200), "image/jpeg").header("etag", "\"v1\""));
    let target = format!("/placeholder?url={}", enc(&origin.url("/a.jpg")));
    let short = || over(&dir).text("images.minimum_cache_ttl", "1s").text("cache.stale_while_revalidate", "0s");
    let app = short().start().await;
    up(&app).await;
    let first = app.get(&target).await;
    stop(app).await;
    // Past its lifetime, by the clock of a new process.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let app = short().start().await;
    up(&app).await;
    let again = app.get(&target).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let received = origin.received("/a.jpg");
    assert_eq!(received.len(), 2, "asked for again");
    assert_eq!((received[1].header("if-none-match"), received[1].unchanged), (Some("\"v1\""), true));
}

#[tokio::test]
async fn what_was_purged_does_not_come_back_by_a_restart() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    let paths = ["/url.png", "/host.png"];
    paths.iter().for_each(|path| origin.set(path, Reply::new(png(80, 40), "image/png")));
    let [by_url, by_host] = paths.map(|path| origin.url(path));
    for document in [format!(r#"{{"url":"{by_url}"}}"#), r#"{"host":"127.0.0.1"}"#.to_owned()] {
        let before = over(&dir).start().await;
        up(&before).await;
        for url in [&by_url, &by_host] {
            assert_eq!(before.image(url, "w=16&f=png").await.status, 200);
        }
        assert_eq!(purge(&before, &document).await.status, 200);
        stop(before).await;
    }
    let hits = origin.total_hits();
    let after = over(&dir).start().await;
    up(&after).await;
    for url in [&by_url, &by_host] {
        assert_eq!(after.get(&format!("/placeholder?url={}", enc(url))).await.status, 200);
    }
    assert_eq!(origin.total_hits(), hits + 2, "both are asked for again");
}

#[tokio::test]
async fn what_clients_asked_for_is_what_is_told() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    origin.set("/a.jpg", Reply::new(jpeg(300, 200), "image/jpeg"));
    origin.set("/b.png", Reply::new(png(80, 40), "image/png"));
    let (a, b) = (origin.url("/a.jpg"), origin.url("/b.png"));
    let app = over(&dir).start().await;
    up(&app).await;
    for _ in 0..20 {
        assert_eq!(app.image(&a, "w=64&f=webp").await.status, 200);
    }
    for width in [16, 384] {
        assert_eq!(app.image(&b, &format!("w={width}&f=png")).await.status, 200);
    }
    assert_eq!(app.image(&origin.url("/none.png"), "w=16").await.status, 404);
    stop(app).await;

    let app = over(&dir).start().await;
    up(&app).await;
    let page = app.admin("/dashboard", &[]).await;
    assert_eq!((page.status, page.must("content-type")), (200, "text/html; charset=utf-8"));
    let stats = app.admin("/stats", &[]).await.json();
    assert_eq!((&stats["requests"], &stats["hits"], &stats["sources"]), (&22.into(), &19.into(), &2.into()), "{stats}");
    assert_eq!((&stats["topSources"][0]["url"], &stats["exceeding"][0]["width"]), (&a.as_str().into(), &384.into()));
    let variants = app.admin(&format!("/variants?url={}", enc(&a)), &[]).await.json();
    assert_eq!((variants.as_array().map(Vec::len), &variants[0]["requests"]), (Some(1), &20.into()), "{variants}");
    assert_eq!((&variants[0]["format"], &variants[0]["width"]), (&"webp".into(), &64.into()));
    let page = app.admin("/sources?sort=hits&limit=1", &[]).await.json();
    assert_eq!((&page["sources"][0]["url"], page["sources"].as_array().map(Vec::len)), (&a.as_str().into(), Some(1)));
    let cursor = page["cursor"].as_str().expect("a next page");
    let next = app.admin(&format!("/sources?sort=hits&limit=1&cursor={}", enc(cursor)), &[]).await.json();
    assert_eq!(next["sources"][0]["url"], b.as_str(), "{next}");
    let cursor = next["cursor"].as_str().expect("the page was full");
    let end = app.admin(&format!("/sources?sort=hits&limit=1&cursor={}", enc(cursor)), &[]).await.json();
    assert_eq!((end["sources"].as_array().map(Vec::len), &end["cursor"]), (Some(0), &serde_json::Value::Null), "{end}");
    let prefix = app.admin(&format!("/sources?prefix={}", enc(&origin.url("/b"))), &[]).await.json();
    assert_eq!(prefix["sources"].as_array().map(Vec::len), Some(1), "{prefix}");

    for target in [
        "/variants",
        "/variants?url=",
        "/variants?url=no",
        "/sources?sort=name",
        "/sources?limit=0",
        "/sources?limit=1001",
        "/sources?limit=x",
        "/sources?cursor=x",
        "/sources?limit=1&limit=2",
        "/sources?more=1",
        "/sources?prefix=%00",
        "/sources?prefix=https://a%00b",
        "/stats?x=1",
        "/stats?values=yes",
        "/sources?values=",
    ] {
        app.admin(target, &[]).await.problem(400, "parameter_invalid");
    }
    let bare = Setup::new().text("metadata.url", "").start().await;
    for target in ["/variants?url=https://a.example/1", "/sources", "/stats"] {
        bare.admin(target, &[]).await.problem(404, "metadata_off");
        assert_eq!(bare.get(target).await.status, 404, "not on the public listener");
    }
}

#[tokio::test]
async fn what_stands_in_a_sources_query_is_told_to_who_asks_for_it() {
    let dir = TempDir::new();
    let origin = Origin::with("/a.jpg?X-Amz-Signature=sesame", jpeg(300, 200), "image/jpeg").await;
    let url = origin.url("/a.jpg?X-Amz-Signature=sesame");
    let app = over(&dir).start().await;
    up(&app).await;
    assert_eq!(app.image(&url, "w=64&f=webp").await.status, 200);
    // Wider than the source, and never asked for again.
    assert_eq!(app.image(&url, "w=384&f=webp").await.status, 200);
    stop(app).await;

    let app = over(&dir).start().await;
    up(&app).await;
    for target in ["/sources", "/stats", "/sources?values=false"] {
        let told = app.admin(target, &[]).await.text();
        assert!(told.contains("a.jpg?X-Amz-Signature=***") && !told.contains("sesame"), "{target}: {told}");
    }
    for target in ["/sources?values=true", "/stats?values=true"] {
        let told = app.admin(target, &[]).await.text();
        assert!(told.contains(&url) && !told.contains("***"), "{target}: {told}");
    }
}

/// Lets a process write files up to this size.
fn bound_files(app: &App, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(app.id().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("our own child");
}

#[tokio::test]
async fn a_disk_that_is_full_loses_no_row_once_there_is_room() {
    let dir = TempDir::new();
    let origin = Origin::start().await;
    let app = over(&dir).start().await;
    up(&app).await;
    let file = std::fs::metadata(dir.path().join("meta.db")).expect("there").len();
    let log = std::fs::metadata(dir.path().join("meta.db-wal")).map_or(0, |file| file.len());
    bound_files(&app, Some(file.max(log) + 20_000));
    let names: Vec<_> = (0..200).map(|n| format!("/{n}.png")).collect();
    for (n, name) in names.iter().enumerate() {
        origin.set(name, Reply::new(png(20 + n as u32, 10), "image/png"));
        assert_eq!(app.image(&origin.url(name), "w=16&f=png").await.status, 200, "{name}");
    }
    let stuck = async || app.get("/readyz").await.json()["dependencies"]["metadata"] == "degraded";
    let started = Instant::now();
    while !stuck().await {
        assert!(started.elapsed() < Duration::from_secs(20), "the disk is not full");
    }
    bound_files(&app, None);
    while stuck().await {
        assert!(started.elapsed() < Duration::from_secs(60), "not written again");
    }
    assert_eq!(app.metric("pixgate_metadata_writes_total{outcome=\"dropped\"}").await, 0.0);
    let known = async || app.admin("/sources?limit=1000", &[]).await.json()["sources"].as_array().map(Vec::len);
    while known().await != Some(names.len()) {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?} of {}", known().await, names.len());
    }
    assert_eq!(app.metric("pixgate_metadata_writes_total{outcome=\"dropped\"}").await, 0.0);
}

#[tokio::test]
async fn a_store_that_is_away_is_noticed_by_nobody_who_asks_for_pictures() {
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    let url = origin.url("/a.jpg");
    // Nothing listens on port 1; the directory does not exist.
    for store in ["postgres://pixgate:secret-word@127.0.0.1:1/pixgate", "sqlite:/nonexistent/dir/meta.db"] {
        let app = Setup::new().text("metadata.url", store).start().await;
        for rest in ["w=64&f=png", "w=64&f=png", "w=16&f=webp"] {
            assert_eq!(app.image(&url, rest).await.status, 200, "{store}");
        }
        assert_eq!(app.get(&format!("/placeholder?url={}", enc(&url))).await.status, 200);
        let ready = app.get("/readyz").await;
        assert_eq!((ready.status, &ready.json()["dependencies"]["metadata"]), (200, &"degraded".into()), "{store}");
        app.admin("/stats", &[]).await.problem(503, "metadata_unavailable");
        assert!(!app.log().contains("secret-word"), "{}", app.log());
        stop(app).await;
    }
}
