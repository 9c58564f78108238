//! Error answers as whoever asked can use them: a browser that wants a picture, a developer, a caller on this machine,
//! anybody else.
//! Law: to strangers nothing tells what the network behind is like; to a developer everything that the log has.

use crate::harness::app::{App, Setup, image, next};
use crate::harness::code;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::png;

/// What a proxy on this machine adds: its caller is a stranger.
const PROXIED: [(&str, &str); 1] = [("x-forwarded-for", "192.0.2.1")];
const IMAGE: [(&str, &str); 1] = [("sec-fetch-dest", "image")];

async fn reasons(app: &App, url: &str, headers: &[(&str, &str)]) -> (String, serde_json::Value) {
    let answer = app.get_with(&image(url, "w=64"), headers).await;
    let detail = answer.problem(403, code::URL_NOT_ALLOWED);
    (detail, answer.json())
}

#[tokio::test]
async fn an_error_for_an_image_element_has_no_type() {
    let origin = Origin::start().await;
    let app = Setup::new().text("sources.max_bytes", "2kB").start().await;
    origin.set("/large", Reply::new(vec![0; 3000], "image/png"));
    origin.set("/page", Reply::new(*b"<html>", "image/png"));
    origin.set("/svg", Reply::new(*b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"));
    origin.set("/empty", Reply::new(*b"", "image/png"));
    origin.set("/500", Reply::status(500));
    for (url, status) in [
        ("x".to_owned(), 400),
        ("http://other.example/a.png".to_owned(), 403),
        (origin.url("/404"), 404),
        (origin.url("/large"), 413),
        (origin.url("/page"), 415),
        (origin.url("/svg"), 415),
        (origin.url("/empty"), 422),
        (origin.url("/500"), 502),
    ] {
        let answer = app.get_with(&image(&url, "w=64"), &IMAGE).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, None), "{url}");
        assert_eq!(answer.must("cache-control"), "no-store");
        assert_eq!(answer.must("x-content-type-options"), "nosniff");
        assert_eq!(answer.must("content-security-policy"), "default-src 'none'; sandbox");
        assert!(answer.text().contains("detail"), "{}", answer.text());
        let answer = app.get_with(&next(&url, 64, 75), &IMAGE).await;
        assert!(answer.status >= 400 && answer.header("content-type").is_none(), "{:?}", answer.headers);
        // Everybody else reads a type.
        for other in ["document", "empty"] {
            let answer = app.get_with(&image(&url, "w=64"), &[("sec-fetch-dest", other)]).await;
            assert_eq!(answer.must("content-type"), "application/problem+json");
        }
    }
}

#[tokio::test]
async fn what_is_not_allowed_names_its_key_to_this_machine_and_to_developers_only() {
    let origin = Origin::with("/a.png", png(20, 10), "image/png").await;
    let strangers = Setup::new().set("sources.allow_local_ip", false);
    let app = strangers.start().await;
    let cases = [
        ("http://other.example/a.png".to_owned(), "sources.domains or sources.remote_patterns"),
        (origin.url("/a.png"), "sources.allow_local_ip or sources.allow_cidrs"),
        ("/a.png".to_owned(), "sources.base_url"),
    ];
    for (url, setting) in &cases {
        let (detail, told) = reasons(&app, url, &[]).await;
        assert_eq!(told["setting"], *setting, "{url}");
        assert_eq!(told["reason"], serde_json::Value::Null, "that is for the log, and for development");
        let (same, stranger) = reasons(&app, url, &PROXIED).await;
        assert_eq!(same, detail);
        assert_eq!((&stranger["reason"], &stranger["setting"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        app.next(url, 64, 75).await.plain(400, r#""url" parameter is not allowed"#);
    }
    let developers = Setup::new().set("sources.allow_local_ip", false).set("server.development", true).start().await;
    for (url, setting) in &cases {
        assert_eq!(reasons(&developers, url, &PROXIED).await.1["setting"], *setting, "{url}");
        let answer = developers.next(url, 64, 75).await;
        assert!(answer.text().starts_with("\"url\" parameter is not allowed\n"), "{}", answer.text());
        assert!(answer.text().contains(setting), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_redirect_that_was_the_cause_is_told_and_where_it_led_is_not() {
    let origin = Origin::start().await;
    origin.set("/moved", Reply::redirect(302, "http://10.1.2.3/secret.png"));
    origin.set("/login", Reply::redirect(302, "/signin?token=1"));
    let app = Setup::new().start().await;
    let (detail, told) = reasons(&app, &origin.url("/moved"), &PROXIED).await;
    assert_eq!(detail, "the source is not allowed: a redirect left the allow-list");
    assert!(!told.to_string().contains("10.1.2.3"), "{told}");
    app.until("the log says where it led", || app.log().contains("http://10.1.2.3/secret.png")).await;
    app.image(&origin.url("/login"), "w=64").await.problem(404, code::SOURCE_NOT_FOUND);
    app.until("the log says where it led", || app.log().contains(&origin.url("/signin"))).await;
    assert!(!app.log().contains("token=1"), "{}", app.log());
}

#[tokio::test]
async fn in_development_every_error_has_its_reason() {
    let origin = Origin::start().await;
    origin.set("/page", Reply::new(*b"<html>", "image/png"));
    let app = Setup::new().set("server.development", true).start().await;
    let dead = format!("http://{}.example/a.png", "a".repeat(64));
    let wide =
        Setup::new().set("server.development", true).set("sources.domains", format!("['{}.example']", "a".repeat(64)));
    let wide = wide.start().await;
    for (app, url) in [(&app, origin.url("/404")), (&app, origin.url("/page")), (&wide, dead)] {
        let answer = app.image(&url, "w=64").await;
        let reason = answer.json()["reason"].as_str().unwrap_or_default().to_owned();
        assert!(!reason.is_empty(), "{}", answer.text());
        assert!(app.next(&url, 64, 75).await.text().contains(&reason), "{reason}");
    }
}
