//! Purges of one service: by URL, prefix, host and all, hard and soft, over HTTP and the command line, tags and webhook.
//! Law: a replaced picture is told from the old one by its colour, and what was fetched again by the origin's counters.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::app::{App, Setup, run};
use crate::harness::client::{Response, request};
use crate::harness::origin::{Gate, Origin, Reply, eventually};
use crate::harness::pictures::{self, assert_colour, decoded};

const OLD: [u8; 3] = [200, 30, 30];
const NEW: [u8; 3] = [30, 30, 200];

/// A picture of one colour.
pub(crate) fn plain(colour: [u8; 3]) -> Reply {
    let pixels = image::RgbImage::from_pixel(120, 60, image::Rgb(colour));
    Reply::new(pictures::encoded(&pixels.into(), image::ImageFormat::Png), "image/png").header("etag", &etag(colour))
}

fn etag(colour: [u8; 3]) -> String {
    format!("\"{}\"", colour[0])
}

pub(crate) async fn shows(app: &App, url: &str, colour: [u8; 3]) -> Response {
    let answer = app.image(url, "w=64&f=png").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_colour(&decoded(&answer.body), (32, 16), colour, 3);
    answer
}

pub(crate) async fn purge(app: &App, document: &str) -> Response {
    let headers = [("content-type", "application/json")];
    request(app.admin, "POST", "/purge", &headers, document.as_bytes()).await.expect("an answer")
}

async fn purged(app: &App, document: &str) -> serde_json::Value {
    let answer = purge(app, document).await;
    assert_eq!(answer.status, 200, "{document}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn each_kind_takes_what_it_names_and_nothing_else() {
    let origin = Origin::start().await;
    let app = Setup::new().set("sources.domains", r#"["127.0.0.1", "localhost"]"#).start().await;
    let paths = ["/a/1.png", "/a/2.png", "/b/1.png"];
    let urls: Vec<String> = paths
        .iter()
        .map(|path| origin.url(path))
        .chain([origin.url("/a/1.png").replace("127.0.0.1", "localhost")])
        .collect();
    for (kind, document, taken) in [
        ("url", format!(r#"{{"url":"{}"}}"#, urls[0]), [true, false, false, false]),
        ("prefix", format!(r#"{{"prefix":"{}"}}"#, origin.url("/a/")), [true, true, false, false]),
        ("host", r#"{"host":"127.0.0.1"}"#.to_owned(), [true, true, true, false]),
        ("all", r#"{"all":true}"#.to_owned(), [true, true, true, true]),
    ] {
        paths.iter().for_each(|path| origin.set(path, plain(OLD)));
        purged(&app, r#"{"all":true}"#).await;
        for url in &urls {
            shows(&app, url, OLD).await;
        }
        paths.iter().for_each(|path| origin.set(path, plain(NEW)));
        let report = purged(&app, &document).await;
        assert_eq!((&report["kind"], &report["soft"], &report["shared"]), (&kind.into(), &false.into(), &true.into()));
        for (url, taken) in urls.iter().zip(taken) {
            shows(&app, url, if taken { NEW } else { OLD }).await;
        }
    }
    assert_eq!(app.metric("pixgate_purges_total").await as u32, 8);
}

#[tokio::test]
async fn a_hard_purge_asks_without_condition_and_equal_bytes_cost_no_encode() {
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    let app = Setup::new().start().await;
    let url = origin.url("/a.png");
    shows(&app, &url, OLD).await;
    purged(&app, &format!(r#"{{"url":"{url}"}}"#)).await;
    let again = shows(&app, &url, OLD).await;
    assert!(again.must("cache-status").contains("fwd=miss"), "{:?}", again.headers);
    let requests = origin.received("/a.png");
    assert_eq!((requests.len(), requests[1].header("if-none-match")), (2, None));
    assert_eq!(app.metric("pixgate_renders_total").await as u32, 1, "the bytes are what they were");
    assert!(shows(&app, &url, OLD).await.must("cache-status").contains("detail=memory"));
}

#[tokio::test]
async fn a_soft_purge_serves_the_old_picture_while_it_is_refreshed() {
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    let app = Setup::new().start().await;
    let url = origin.url("/a.png");
    shows(&app, &url, OLD).await;
    origin.set("/a.png", plain(NEW));
    let report = purged(&app, &format!(r#"{{"url":"{url}","soft":true}}"#)).await;
    assert_eq!(report["soft"], true);
    let stale = shows(&app, &url, OLD).await;
    assert!(stale.must("cache-status").contains("stale"), "{:?}", stale.headers);
    eventually("the refresh", || origin.hits("/a.png") == 2).await;
    assert_eq!(origin.received("/a.png")[1].header("if-none-match"), Some(etag(OLD).as_str()));
    for _ in 0..200 {
        let answer = app.image(&url, "w=64&f=png").await;
        if !answer.must("cache-status").contains("stale") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shows(&app, &url, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_that_began_before_the_purge_does_not_bring_the_old_picture_back() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/a.png", plain(OLD).held(&gate));
    let app = Setup::new().start().await;
    let url = origin.url("/a.png");
    let early = app.image(&url, "w=64&f=png");
    let later = async {
        origin.wait_hits("/a.png", 1).await;
        purged(&app, &format!(r#"{{"url":"{url}"}}"#)).await;
        origin.set("/a.png", plain(NEW));
        // Asked after the purge, while the old flight is still in the air: not one of its passengers.
        shows(&app, &url, NEW).await;
        gate.open();
    };
    let (early, ()) = tokio::join!(early, later);
    assert_eq!(early.status, 200, "{}", early.text());
    assert!(shows(&app, &url, NEW).await.must("cache-status").contains("detail=memory"));
    assert_eq!(origin.hits("/a.png"), 2);
}

#[tokio::test]
async fn a_purge_ends_a_negative_record() {
    let origin = Origin::start().await;
    origin.set("/a.png", Reply::status(404));
    let app = Setup::new().text("cache.negative_ttl", "1h").start().await;
    let url = origin.url("/a.png");
    for _ in 0..2 {
        assert_eq!(app.image(&url, "w=64&f=png").await.status, 404);
    }
    assert_eq!(origin.hits("/a.png"), 1);
    origin.set("/a.png", plain(NEW));
    purged(&app, &format!(r#"{{"url":"{url}"}}"#)).await;
    shows(&app, &url, NEW).await;
}

#[tokio::test]
async fn a_wrong_purge_is_told_what_is_wrong_with_it() {
    let app = Setup::new().start().await;
    for document in [
        "",
        "[]",
        "{}",
        r#"{"all":false}"#,
        r#"{"url":"https://a.example/1","all":true}"#,
        r#"{"url":"https://a.example/1","host":"a.example"}"#,
        r#"{"uri":"https://a.example/1"}"#,
        r#"{"url":7}"#,
        r#"{"url":"not a url"}"#,
        r#"{"url":"/a.png"}"#,
        r#"{"url":"ftp://a.example/1"}"#,
        r#"{"url":"https://u:p@a.example/1"}"#,
        r#"{"host":"a.example/x"}"#,
        r#"{"host":"a.example:81"}"#,
        r#"{"host":""}"#,
        r#"{"all":true,"soft":"yes"}"#,
    ] {
        purge(&app, document).await.problem(400, "purge_invalid");
    }
    let document = br#"{"all":true}"#;
    let with =
        |headers: &'static [(&'static str, &'static str)]| request(app.admin, "POST", "/purge", headers, document);
    // What a foreign page can send without asking: a form's type, and this listener by a name of its own.
    with(&[("content-type", "text/plain")]).await.expect("answered").problem(415, "json_expected");
    with(&[]).await.expect("answered").problem(415, "json_expected");
    let mut rebound = tokio::net::TcpStream::connect(app.admin).await.expect("connects");
    let head =
        "POST /purge HTTP/1.0\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n";
    rebound.write_all(&[head.as_bytes(), document].concat()).await.expect("sent");
    let mut answer = String::new();
    rebound.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.contains(" 403 ") && answer.contains("host_not_allowed"), "{answer}");
    app.admin("/purge", &[]).await.problem(405, "method_not_allowed");
    request(app.public, "POST", "/purge", &[], document).await.expect("answered").problem(404, "not_found");
    assert_eq!(app.metric("pixgate_purges_total").await as u32, 0);
}

#[tokio::test]
async fn pictures_carry_their_tags_and_the_webhook_hears_the_purged_one() {
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    origin.set("/hook?k=v", Reply::status(204));
    let app = Setup::new()
        .set("purge.tag_headers", r#"["Cache-Tag", "surrogate-key"]"#)
        .text("purge.webhook", &origin.url("/hook?k=v"))
        .text("purge.webhook_token", "0123456789abcdef")
        .start()
        .await;
    let url = origin.url("/a.png");
    for answer in [
        shows(&app, &url, OLD).await,
        shows(&app, &url, OLD).await,
        app.get(&format!("/placeholder?url={}", crate::harness::client::enc(&url))).await,
    ] {
        let tags = answer.must("cache-tag");
        assert_eq!(answer.must("surrogate-key"), tags.replace(',', " "));
        let report = purged(&app, &format!(r#"{{"url":"{url}","soft":true}}"#)).await;
        for tag in report["tags"].as_array().expect("a list") {
            assert!(tags.split(',').any(|sent| sent == tag.as_str().expect("a text")), "{tag} in {tags}");
        }
    }
    eventually("the webhook", || origin.hits("/hook") == 3).await;
    let told = &origin.received("/hook")[0];
    assert_eq!((told.method.as_str(), told.header("authorization")), ("POST", Some("Bearer 0123456789abcdef")));
    let document: serde_json::Value = serde_json::from_slice(&told.body).expect("JSON");
    assert_eq!((&document["kind"], document["tags"].as_array().expect("a list").len()), (&"url".into(), 1));
    let quiet = Setup::new().start().await;
    let answer = shows(&quiet, &url, OLD).await;
    assert_eq!((answer.header("cache-tag"), answer.header("surrogate-key")), (None, None));
}

#[tokio::test]
async fn the_command_line_purges_a_running_service() {
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    let app = Setup::new().text("server.admin_token", "0123456789abcdef").start().await;
    let url = origin.url("/a.png");
    shows(&app, &url, OLD).await;
    origin.set("/a.png", plain(NEW));
    let dir = std::env::temp_dir();
    let (admin, token) = (format!("http://{}", app.admin), [("PIXGATE_SERVER_ADMIN_TOKEN", "0123456789abcdef")]);
    let (code, out, err) = run(&dir, &token, &["purge", &url, "--admin", &admin]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(r#""kind":"url""#), "{out}");
    shows(&app, &url, NEW).await;
    for (arguments, code) in [
        (&["purge", "--all", "--admin", &admin][..], 1),
        (&["purge", "--host", "a b", "--admin", &admin], 1),
        (&["purge", "--admin", &admin], 2),
        (&["purge", &url, "--all", "--admin", &admin], 2),
    ] {
        let environment: &[(&str, &str)] = if arguments[1] == "--all" { &[] } else { &token };
        let (given, out, err) = run(&dir, environment, arguments);
        assert_eq!(given, Some(code), "{arguments:?}: {out}{err}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_a_soft_purge_leaves_for_a_moment_is_kept_by_nobody_behind_us() {
    let origin = Origin::start().await;
    origin.set("/a.png", plain(OLD));
    let app = Setup::new().start().await;
    let url = origin.url("/a.png");
    shows(&app, &url, OLD).await;
    // The refresh fails, so that the old picture stays.
    origin.set("/a.png", Reply::status(503));
    purged(&app, r#"{"all":true,"soft":true}"#).await;
    let direct = shows(&app, &url, OLD).await;
    let next = app.next(&url, 64, 75).await;
    for answer in [direct, next] {
        assert_eq!(answer.must("cache-control"), "public, max-age=0, must-revalidate", "{:?}", answer.headers);
    }
    let placeholder = app.get(&format!("/placeholder?url={}", crate::harness::client::enc(&url))).await;
    assert!(placeholder.must("cache-control").starts_with("public, max-age=0"), "{:?}", placeholder.headers);
}
