//! `pixgate dev`: what is edited is seen, the app beside is its base, the manifest is followed. Law: what a person wrote
//! wins over what the command brings, and nothing is left behind in the app's folder.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::harness::app::{App, Setup, TempDir, image, next, run};
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::png;

const MANIFEST: &str = r#"{"version":1,"images":{"deviceSizes":[640],"imageSizes":[48],"minimumCacheTTL":14400,
    "dangerouslyAllowLocalIP":false,"remotePatterns":[{"hostname":"127.0.0.1"}]}}"#;

async fn beside(origin: &Origin) -> App {
    Setup::development().argument("--base-url").argument(origin.url("")).start().await
}

#[tokio::test]
async fn an_edited_picture_is_seen_at_once() {
    let origin = Origin::start().await;
    let put = |size, tag: &str| {
        let picture = Reply::new(png(size, 50), "image/png").header("etag", tag);
        origin.set("/hero.png", picture.header("cache-control", "public, max-age=31536000"));
    };
    put(100, "\"one\"");
    let app = beside(&origin).await;
    for target in [image("/hero.png", "w=256&f=png"), next("/hero.png", 256, 75)] {
        put(100, "\"one\"");
        let first = app.get(&target).await;
        assert_eq!((first.look().size(), first.must("cache-control")), ((100, 50), "no-cache"));
        let tag = first.must("etag").to_owned();
        let again = app.get_with(&target, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.must("cache-control")), (304, "no-cache"));
        put(80, "\"two\"");
        let edited = app.get_with(&target, &[("if-none-match", &tag)]).await;
        assert_eq!(edited.look().size(), (80, 50), "the first answer after the edit");
    }
    let placeholder = app.get("/placeholder?url=%2Fhero.png").await;
    assert_eq!(placeholder.must("cache-control"), "no-cache");
    // Unchanged sources are asked for, and not sent again.
    assert!(origin.received("/hero.png").iter().any(|request| request.unchanged));
}

#[tokio::test]
async fn local_addresses_are_allowed_and_the_folder_stays_clean() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let mut app = Setup::development().argument("--domain").argument("127.0.0.1").start().await;
    assert!(app.public.ip().is_loopback() && app.admin.ip().is_loopback());
    assert_eq!(app.image(&origin.url("/a.png"), "w=64").await.status, 200);
    app.until("there is a store all the same", || app.log().contains("the metadata store is there")).await;
    assert_eq!(app.admin("/stats", &[]).await.status, 200);
    app.terminate();
    assert_eq!(app.exit_code().await, Some(0));
    let left: Vec<_> =
        std::fs::read_dir(app.dir.path()).expect("the folder").map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(left, ["pixgate.toml"]);
}

#[tokio::test]
async fn the_manifest_is_waited_for_and_followed() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::development().argument("--next-manifest").argument(".next/images-manifest.json").start().await;
    let (small, large) = (image(&origin.url("/a.png"), "w=48"), image(&origin.url("/a.png"), "w=64"));
    app.until("it says what it waits for", || app.log().contains(".next/images-manifest.json is not there yet")).await;
    app.get(&small).await.problem(403, "source_not_allowed");
    std::fs::create_dir(app.dir.path().join(".next")).expect("a folder");
    let reloads = || {
        let log = app.log();
        log.matches("reloaded").count() - log.matches("not reloaded").count()
    };
    app.dir.write(".next/images-manifest.json", MANIFEST);
    app.until("the manifest is read", || reloads() == 1).await;
    let answer = app.get(&small).await;
    assert_eq!((answer.status, answer.must("cache-control")), (200, "no-cache"), "local addresses, nothing kept");
    assert_eq!(app.get(&large).await.status, 400, "not a width of the app");
    // Half written: the old one stays until the rest is there.
    app.dir.write(".next/images-manifest.json", &MANIFEST[..40]);
    app.until("the half is refused", || app.log().contains("not reloaded")).await;
    assert_eq!(app.get(&small).await.status, 200);
    app.dir.write(".next/images-manifest.json", MANIFEST.replace("[48]", "[48,64]"));
    app.until("the whole is read", || reloads() == 2).await;
    assert_eq!(app.get(&large).await.status, 200);
    // A build that begins by removing it takes nothing away.
    let refused = || app.log().matches("not reloaded").count();
    let before = refused();
    std::fs::remove_file(app.dir.path().join(".next/images-manifest.json")).expect("it is there");
    app.signal(Signal::HUP);
    app.until("its absence is noticed", || refused() > before).await;
    assert_eq!(app.get(&large).await.status, 200);
}

#[tokio::test]
async fn the_manifest_of_the_folder_is_found_when_none_is_named() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::development().start().await;
    app.dir.write("pixgate-manifest.json", MANIFEST);
    app.until("the manifest is read", || app.log().contains("reloaded")).await;
    assert_eq!(app.image(&origin.url("/a.png"), "w=48").await.status, 200);
}

#[tokio::test]
async fn what_a_person_wrote_wins() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::development()
        .set("sources.domains", r#"["127.0.0.1"]"#)
        .set("sources.allow_local_ip", false)
        .text("metadata.url", "sqlite:mine.db")
        .start()
        .await;
    assert_eq!(app.image(&origin.url("/a.png"), "w=64").await.status, 403);
    app.until("its store", || app.dir.path().join("mine.db").exists()).await;
    let dev = Setup::development()
        .env("PIXGATE_IMAGES_MINIMUM_CACHE_TTL", "1h")
        .env("PIXGATE_SOURCES_BASE_URL", &origin.url(""));
    let app = dev.start().await;
    for _ in 0..3 {
        assert_eq!(app.image("/a.png", "w=64").await.status, 200);
    }
    assert_eq!(origin.hits("/a.png"), 1, "fresh for as long as was said");
}

#[test]
fn a_manifest_without_the_app_is_warned_of_with_its_cure() {
    let dir = TempDir::new();
    dir.write("m.json", MANIFEST);
    let check = |more: &[&str]| {
        let arguments = [&["check-config", "--next-manifest", "m.json"], more].concat();
        run(dir.path(), &[], &arguments)
    };
    let (code, shown, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--base-url") && said.contains("sources.base_url"), "{said}");
    assert!(shown.contains("base_url = \"\""), "{shown}");
    let (_, shown, said) = check(&["--base-url", "http://web:3000"]);
    assert!(!said.contains("base_url"), "{said}");
    assert!(shown.contains("http://web:3000") && shown.contains("flag --base-url"), "{shown}");
    let (code, _, said) = check(&["--base-url", "web:3000"]);
    assert!(code == Some(1) && said.contains("sources.base_url") && said.contains("--base-url"), "{said}");
}

#[tokio::test]
async fn the_demo_leaves_nothing_in_its_folder() {
    let dir = TempDir::new();
    let started = SystemTime::now();
    let mut child = std::process::Command::new(crate::harness::app::BINARY)
        .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env_clear()
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the demo starts");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("stdout"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("its address");
    let public: std::net::SocketAddr = line.trim().trim_start_matches("public http://").parse().expect("an address");
    let target = image("/lake.jpg", "w=64");
    let answer = crate::harness::client::request(public, "GET", &target, &[], b"").await.expect("an answer");
    assert_eq!(answer.status, 200);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .expect("told");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
    assert!(started.elapsed().expect("a clock") < Duration::from_secs(60));
}
