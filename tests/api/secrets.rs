//! Nothing that is secret comes out: every place that takes a secret gets a marked one, and everything that is said is
//! searched for the mark, at the level that says most and in both formats. Law: no mark, whatever fails.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::app::{App, Setup, TempDir, image, next, run};
use crate::harness::client::request;
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::png;
use crate::harness::postgres::PostgresServer;
use crate::harness::redis::RedisServer;

const MARK: &str = "hunter2";

#[track_caller]
fn unmarked(what: &str, text: &str) {
    if let Some(at) = text.find(MARK) {
        let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
        panic!("{what} tells a secret: {}", text[from..].lines().next().unwrap_or_default());
    }
}

/// What is asked for: sources that answer, fail, lead elsewhere, and are refused, each with a mark in its query or user.
fn targets(origin: &Origin) -> Vec<String> {
    let paths =
        ["good", "401", "403", "404", "429", "500", "503", "text", "user", "slash", "elsewhere", "loop", "slow"];
    let sources = paths.iter().map(|path| origin.url(&format!("/{path}?sig=hunter2")));
    let wrong = [
        "http://u:hunter2@127.0.0.1/a.png",
        "http://u:a/hunter2@127.0.0.1/a.png",
        "http://u:a#hunter2@127.0.0.1/a.png",
        "http://u:a?hunter2@127.0.0.1/a.png",
        "u:hunter2@127.0.0.1/a.png",
        "//u:hunter2@127.0.0.1/a.png",
        "http://not.allowed.example/a.png?sig=hunter2",
        "http://127.0.0.1:9/a.png?sig=hunter2",
        // Encoded once too often, and what no URL can be.
        "http%3A%2F%2Fu%3Ahunter2%40127.0.0.1%2Fa.png",
        "http%3A%2F%2F127.0.0.1%2Fa.png%3Fsig%3Dhunter2",
        "https://u:hunter2@a{b/a.png",
        "https://a{b/a.png?sig=hunter2",
        "https://[::1/a.png?sig=hunter2",
        "\thttps://u:hunter2@127.0.0.1/a.png",
        "/a.png?sig=hunter2",
        "data:image/png;base64,hunter2",
    ];
    let sources = sources.chain(wrong.map(str::to_owned));
    let mut targets: Vec<String> = sources.flat_map(|url| [image(&url, "w=64"), next(&url, 64, 75)]).collect();
    targets.push("/nothing?sig=hunter2".into());
    targets
}

/// Besides the rest, `never` keeps one source from being answered.
async fn marked_origin(never: &Gate) -> Origin {
    let origin = Origin::with("/good?sig=hunter2", png(64, 32), "image/png").await;
    for status in [401, 403, 404, 429, 500, 503] {
        origin.set(&format!("/{status}?sig=hunter2"), Reply::status(status));
    }
    origin.set("/text?sig=hunter2", Reply::new(b"no picture".to_vec(), "text/plain"));
    origin.set("/slow?sig=hunter2", Reply::new(png(64, 32), "image/png").held(never));
    for (path, location) in [
        ("/user", format!("http://u:hunter2@{}/good", origin.address)),
        ("/slash", format!("http://u:a/hunter2@{}/good", origin.address)),
        ("/elsewhere", "http://elsewhere.example/a.png?sig=hunter2".to_owned()),
        ("/loop", "/loop?sig=hunter2".to_owned()),
    ] {
        origin.set(&format!("{path}?sig=hunter2"), Reply::redirect(302, &location));
    }
    origin
}

#[tokio::test]
async fn a_running_service_tells_no_secret_whatever_fails() {
    const TURNED: &str = "/turned?X-Amz-Signature=hunter2";
    for format in ["text", "json"] {
        let never = Gate::shut();
        let origin = marked_origin(&never).await;
        origin.set(TURNED, Reply::new(png(64, 32), "image/png").header("cache-control", "max-age=0"));
        let app = Setup::new()
            .text("log.level", "trace")
            .text("log.format", format)
            .text("images.minimum_cache_ttl", "0s")
            .text("sources.first_byte_timeout", "300ms")
            .text("server.admin_token", "hunter2-hunter2-hunter2")
            .text("purge.webhook", "http://127.0.0.1:9/hunter2?token=hunter2")
            .text("purge.webhook_token", "hunter2-hunter2-hunter2")
            .text("redis.url", "redis://u:a%2Fhunter2%40b%23c%3Fd%25e@127.0.0.1:9/0")
            .text("metadata.url", "postgres://u:a%2Fhunter2%40b%23c%3Fd%25e%20f@127.0.0.1:9/p?sslmode=disable")
            .start()
            .await;
        for target in targets(&origin) {
            unmarked(&target, &app.get(&target).await.text());
        }
        let turned = image(&origin.url(TURNED), "w=64");
        assert_eq!(app.get(&turned).await.status, 200);
        origin.set(TURNED, Reply::status(500));
        for _ in 0..2 {
            unmarked(TURNED, &app.get(&turned).await.text());
        }
        // The refresh fails in the background.
        app.until("the failure is told", || app.log().contains("origin failed")).await;
        let token = ("authorization", "Bearer hunter2-hunter2-hunter2");
        let metrics = app.admin("/metrics", &[token]).await;
        assert_eq!(metrics.status, 200);
        unmarked("metrics", &metrics.text());
        unmarked("readiness", &app.admin("/readyz", &[]).await.text());
        app.get_with("/nothing", &[("x-request-id", "the-last-one")]).await;
        app.until("all of the log is here", || {
            app.log().contains("request_id=\"the-last-one\"") || app.log().contains("\"request_id\":\"the-last-one\"")
        })
        .await;
        let log = app.log();
        let log = &log[..log.rfind('\n').unwrap_or_default()];
        assert!(log.contains("/turned") && log.lines().count() > 40, "{log}");
        unmarked(format, log);
        assert!(format == "text" || log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
        assert!(!log.contains('\u{1b}'), "no colours in a pipe");
    }
}

#[tokio::test]
async fn servers_that_refuse_what_they_are_sent_are_told_of_without_it() {
    let dir = TempDir::new();
    let rules = dir.path().join("hba.conf");
    std::fs::write(&rules, "host all all 127.0.0.1/32 scram-sha-256\n").expect("a file");
    // PostgreSQL runs as another user where the tests run as root.
    for (path, mode) in [(dir.path(), 0o755), (rules.as_path(), 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its permissions");
    }
    let postgres = PostgresServer::start_with(&[&format!("hba_file={}", rules.display())]);
    let redis = RedisServer::start_with(&["--requirepass", "another"]);
    let origin = Origin::with("/good?sig=hunter2", png(64, 32), "image/png").await;
    let hook = "/hunter2?token=hunter2";
    let refused = |app: &App| {
        let log = app.log();
        ["Password authentication failed", "password authentication failed", "/purge"]
            .iter()
            .all(|said| log.contains(said))
    };
    let elsewhere = Reply::redirect(302, "http://u:hunter2@127.0.0.1/hunter2");
    for (answer, taken) in [(Reply::status(204), true), (Reply::status(403), false), (elsewhere, false)] {
        origin.set(hook, answer);
        let app = Setup::new()
            .text("log.level", "trace")
            .text("server.admin_token", "hunter2-hunter2-hunter2")
            .text("purge.webhook", &origin.url(hook))
            .text("purge.webhook_token", "hunter2-hunter2-hunter2")
            .text("redis.url", &format!("redis://u:hunter2@127.0.0.1:{}/0", redis.port))
            .text("metadata.url", &postgres.url().replace("pixgate@", "pixgate:hunter2@"))
            .start()
            .await;
        let (url, heard) = (origin.url("/good?sig=hunter2"), origin.hits("/hunter2"));
        assert_eq!(app.image(&url, "w=64").await.status, 200);
        let token = [("authorization", "Bearer hunter2-hunter2-hunter2"), ("content-type", "application/json")];
        let purged = request(app.admin, "POST", "/purge", &token, format!(r#"{{"url":"{url}"}}"#).as_bytes()).await;
        let purged = purged.expect("an answer");
        assert_eq!(purged.status, 200, "{}", purged.text());
        app.until("the webhook is asked", || origin.hits("/hunter2") > heard).await;
        app.until("the webhook is told of", || taken || app.log().contains("webhook could not be told")).await;
        app.until("both servers have refused", || refused(&app)).await;
        unmarked("readiness", &app.admin("/readyz", &[]).await.text());
        unmarked("the log", &app.log());
    }
}

#[test]
fn a_start_that_fails_tells_no_secret() {
    const OWN: [&str; 2] = ["PIXGATE_METADATA_URL", "PIXGATE_REDIS_URL"];
    let dir = TempDir::new();
    let passwords = ["hunter2/x", "12/hunter2", "12?hunter2", "12#hunter2", "a@b/hunter2", "%zz/hunter2 x%"];
    for password in passwords {
        let values = [
            ("DATABASE_URL", format!("postgres://app:{password}@db:5432/app")),
            ("PIXGATE_METADATA_URL", format!("mysql://app:{password}@db:5432/app")),
            ("REDIS_URL", format!("redis://:{password}@h:6379")),
            ("PIXGATE_REDIS_URL", format!("redis+sentinel://:{password}@h:6379/1")),
            ("PIXGATE_SOURCES_BASE_URL", format!("http://u:{password}@web:3000")),
            ("PIXGATE_SOURCES_DOMAINS", format!("http://u:{password}@web:3000")),
            ("PIXGATE_PURGE_WEBHOOK", format!("http://u:{password}@cdn/purge")),
            ("PIXGATE_SERVER_ADMIN_TOKEN", password.to_owned()),
            ("PIXGATE_IMAGES_SIGNING_KEYS", password.to_owned()),
        ];
        // Whatever else is wrong, the command ends.
        let also = [("PIXGATE_LOG_FORMAT", "json"), ("PIXGATE_IMAGES_SNAP", "maybe")];
        let environment: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).chain(also).collect();
        // Our own names win, and what has lost is not read: both are looked at.
        let usual: Vec<_> = environment.iter().copied().filter(|(name, _)| !OWN.contains(name)).collect();
        for (command, environment) in [("check-config", &environment), ("serve", &environment), ("serve", &usual)] {
            let (code, out, err) = run(dir.path(), environment, &[command]);
            assert_eq!(code, Some(1), "{err}");
            assert!(err.contains("metadata.url") && err.contains("redis.url"), "{err}");
            unmarked(password, &format!("{out}{err}"));
            assert!(command != "serve" || err.lines().all(|line| line.starts_with('{')), "{err}");
        }
    }
    let webhook = [("PIXGATE_PURGE_WEBHOOK", "https://cdn.example/hunter2?k=hunter2")];
    let (_, out, err) = run(dir.path(), &webhook, &["check-config"]);
    unmarked("check-config", &format!("{out}{err}"));
    let (_, _, err) = run(dir.path(), &[("REDIS_URL", "redis:6379")], &["check-config"]);
    assert!(err.contains("redis://[user:password@]host[:port]"), "the help is whole: {err}");
}
