//! SIGHUP: a changed configuration is in force for the next request, without a restart. Law: a wrong one changes nothing and
//! says why; what takes a restart is named.

use crate::harness::app::{Setup, image, next};
use crate::harness::client::request;
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::png;

#[tokio::test]
async fn a_narrowed_allow_list_holds_for_what_is_in_memory() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let setup = Setup::new().text("log.level", "info");
    let app = setup.start().await;
    let target = image(&origin.url("/a.png"), "w=64&f=webp");
    // Often enough to be answered before the routes.
    for _ in 0..3 {
        assert_eq!(app.get(&target).await.status, 200);
    }
    app.reload(&Setup::new().set("sources.domains", r#"["elsewhere.example"]"#)).await;
    app.get(&target).await.problem(403, "source_not_allowed");
    assert!(app.get(&next(&origin.url("/a.png"), 64, 75)).await.text().contains("not allowed"));
    app.reload(&Setup::new()).await;
    let answer = app.get(&target).await;
    assert_eq!((answer.status, answer.must("cache-status")), (200, "pixgate; hit; detail=memory"));
    assert_eq!(origin.hits("/a.png"), 1, "nothing is lost");
}

#[tokio::test]
async fn addresses_sizes_formats_lifetimes_and_the_path_change() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::new().set("sources.allow_local_ip", false).start().await;
    let target = image(&origin.url("/a.png"), "w=50&f=webp");
    assert_eq!(app.get(&target).await.status, 400, "no such width");
    app.image(&origin.url("/a.png"), "w=64").await.problem(403, "source_not_allowed");
    let changed = Setup::new()
        .set("images.image_sizes", "[50]")
        .set("images.qualities", "[33]")
        .set("images.formats", r#"["png"]"#)
        .text("images.minimum_cache_ttl", "7m")
        .text("server.next_path", "/shop/_next/image")
        .text("server.admin_token", "a-new-token-0123456789");
    app.reload(&changed).await;
    assert_eq!(app.get(&target).await.look().size(), (50, 25));
    let answer = app.get_with(&image(&origin.url("/a.png"), "w=50"), &[("accept", "image/avif,image/png")]).await;
    assert_eq!(answer.must("content-type"), "image/png", "the formats are others");
    assert!(answer.must("cache-control").starts_with("public, max-age=4"), "{:?}", answer.headers);
    let path = next(&origin.url("/a.png"), 50, 33);
    assert_eq!(app.get(&path).await.status, 404);
    assert_eq!(app.get(&format!("/shop{path}")).await.status, 200);
    assert_eq!(app.get(&format!("/shop{}", path.replace("image?", "image/?"))).await.status, 308);
    assert_eq!(app.send("POST", &format!("/shop{path}"), &[]).await.status, 405);
    assert_eq!(app.admin("/metrics", &[]).await.status, 401);
}

#[tokio::test]
async fn a_failure_by_the_settings_of_before_is_not_remembered() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let (gate, url) = (Gate::shut(), origin.url("/a.png"));
    origin.set("/a.png", Reply::status(500).held(&gate));
    let (public, target) = (app.public, image(&url, "w=64"));
    let asked = tokio::spawn(async move { request(public, "GET", &target, &[], b"").await });
    origin.wait_hits("/a.png", 1).await;
    app.reload(&Setup::new().text("images.minimum_cache_ttl", "7m")).await;
    gate.open();
    assert_eq!(asked.await.expect("no panic").expect("an answer").status, 502);
    origin.set("/a.png", Reply::new(png(100, 50), "image/png"));
    assert_eq!(app.image(&url, "w=64").await.status, 200);
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing_and_says_why() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::new().start().await;
    let target = image(&origin.url("/a.png"), "w=64");
    for (toml, why) in [
        ("[images]\nqualities = [0]\n", "images.qualities"),
        ("[images\n", "is no TOML"),
        ("[sources]\nnext_manifest = 'none.json'\n", "sources.next_manifest"),
    ] {
        app.reload_text(toml).await;
        assert!(app.log().contains("not reloaded") && app.log().contains(why), "{why}: {}", app.log());
        assert_eq!(app.get(&target).await.status, 200, "{why}");
    }
}

#[tokio::test]
async fn what_takes_a_restart_is_named() {
    let setup = || Setup::new().text("redis.url", "redis://:one@127.0.0.1:1");
    let app = setup().start().await;
    app.reload(&setup()).await;
    assert!(!app.log().contains("takes a restart"), "{}", app.log());
    let changed = Setup::new()
        .text("redis.url", "redis://:two@127.0.0.1:1")
        .text("metadata.url", "sqlite:other.db")
        .text("server.listen", "127.0.0.1:1")
        .set("limits.render_threads", 3)
        .text("cache.memory_bytes", "1MB")
        .text("sources.timeout", "9s");
    app.reload(&changed).await;
    let log = app.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains("takes a restart")).collect();
    for key in ["redis.url", "metadata.url", "server.listen", "limits.render_threads", "cache.memory_bytes"] {
        assert!(named.iter().any(|line| line.contains(key)), "{key} in {named:?}");
    }
    assert_eq!(named.len(), 5, "{named:?}");
    assert!(!log.contains(":one@") && !log.contains(":two@"), "{log}");
    assert!(app.lives().await);
}

#[tokio::test]
async fn the_level_of_the_log_and_the_manifest_change() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::new().without("sources.domains").start().await;
    assert_eq!(app.image(&origin.url("/a.png"), "w=64").await.status, 403);
    assert!(!app.log().contains("DEBUG"), "{}", app.log());
    let pattern = r#"{"hostname":"127.0.0.1"}"#;
    let manifest =
        format!(r#"{{"version":1,"images":{{"imageSizes":[48],"deviceSizes":[640],"remotePatterns":[{pattern}]}}}}"#);
    app.dir.write("m.json", manifest);
    let changed = Setup::new()
        .without("sources.domains")
        .text("log.level", "pixgate=debug")
        .text("sources.next_manifest", "m.json");
    app.reload(&changed).await;
    assert_eq!(app.image(&origin.url("/a.png"), "w=48").await.status, 200);
    // A look whether it lives is a debug line.
    assert_eq!(app.get("/healthz").await.status, 200);
    app.until("debug lines", || app.log().contains("DEBUG")).await;
}
