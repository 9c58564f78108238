//! Health, readiness, metrics, the playground and the token that guards them.
//! Law: the admin listener is asked as the app wires it, middleware included.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn readiness_ends_when_draining_begins() {
    let state = state();
    for (draining, status, word) in [(false, 200, "ready"), (true, 503, "draining")] {
        if draining {
            state.drain();
        }
        let answer = get(&state, "/readyz").await;
        assert_eq!((answer.status().as_u16(), field(&answer, "cache-control")), (status, "no-store"));
        let body = json(answer).await;
        assert_eq!((&body["status"], &body["dependencies"]["memory"]), (&word.into(), &"ok".into()));
        assert_eq!(get(&state, "/healthz").await.status(), 200);
    }
}

#[tokio::test]
async fn the_admin_listener_shows_metrics_and_the_playground() {
    let state = state();
    get(&state, &image("w=640&f=webp")).await;
    get(&state, "/image").await;
    let admin = async |target: &str| to_admin(&state, TestRequest::get().uri(target)).await;
    let metrics = text(admin("/metrics").await).await;
    for line in [
        "pixgate_requests_total{route=\"/image\",status=\"200\",cache=\"memory\"} 1",
        "pixgate_requests_total{route=\"/image\",status=\"400\",cache=\"none\"} 1",
        "pixgate_request_seconds_count{route=\"/image\",cache=\"memory\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let page = admin("/").await;
    assert_eq!((page.status().as_u16(), field(&page, "content-type")), (200, "text/html; charset=utf-8"));
    assert!(field(&page, "content-security-policy").starts_with("default-src 'none';"));
    let data = TestRequest::get().uri("/playground.json").insert_header(("host", "10.1.2.3:8081"));
    let data = json(to_admin(&state, data).await).await;
    assert_eq!((&data["publicUrl"], &data["widths"][0]), (&"http://10.1.2.3:9000".into(), &16.into()));
    assert_eq!(data["formats"], serde_json::json!(["avif", "webp", "jpeg", "png"]));
    assert_eq!(data["samples"], serde_json::json!([{ "name": "One", "url": "https://a.example/1.jpg" }]));
    assert_eq!(admin("/healthz").await.status(), 200);
    assert_eq!(admin("/image").await.status(), 404);
}

#[tokio::test]
async fn a_token_guards_all_of_it_but_health_and_the_pages() {
    let settings = Settings { admin_token: Some(Secret::new("right-token")), ..Settings::default() };
    let state = state_with(settings, Duration::ZERO);
    let ask = async |target: &str, authorization: &str| {
        let request = TestRequest::get().uri(target).insert_header(("authorization", authorization));
        to_admin(&state, request).await
    };
    let guarded = ["/metrics", "/playground.json", "/openapi.json", "/stats", "/sources", "/variants", "/nothing"];
    for target in guarded {
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer right-tokens", "Basic right-token", "right-token"]
        {
            let answer = ask(target, wrong).await;
            assert_eq!(answer.status(), 401, "{target} {wrong}");
            assert_eq!(field(&answer, "www-authenticate"), "Bearer realm=\"pixgate\"");
            assert_eq!(field(&answer, "cache-control"), "no-store");
        }
    }
    assert_eq!(ask("/metrics", "Bearer right-token").await.status(), 200);
    assert_eq!(ask("/metrics", "bearer right-token").await.status(), 200);
    assert_eq!(ask("/nothing", "Bearer right-token").await.status(), 404);
    assert_eq!(ask("/healthz", "").await.status(), 200);
    assert_eq!(ask("/readyz", "").await.status(), 200);
    for page in ["/", "/dashboard"] {
        let answer = ask(page, "").await;
        assert_eq!((answer.status().as_u16(), field(&answer, "cache-control")), (200, "no-store"));
        let html = text(answer).await;
        assert!(
            html.contains("id=\"token\"") && !html.contains("right-token") && !html.contains("a.example"),
            "{page}"
        );
    }
}

/// Paths that stand in the routes of both listeners, as their source has them.
fn routes() -> BTreeSet<String> {
    let source = include_str!("../mod.rs");
    let begin = source.find("pub fn public(").expect("the routes");
    let end = source.find("/// A resource that answers GET and HEAD").expect("their end");
    let named = source[begin..end].split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    let constants = [IMAGE, NEXT, PLACEHOLDER, PLACEHOLDERS];
    named.filter(|text| !text.contains('{')).chain(constants).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_description_has_every_route_and_no_other() {
    let settings = Settings { next_path: "/shop/_next/image".into(), ..Settings::default() };
    let state = state_with(settings, Duration::ZERO);
    let document = json(to_admin(&state, TestRequest::get().uri("/openapi.json")).await).await;
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&"3.1.0".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<_> = paths.keys().map(|path| path.replace("/shop", "")).collect();
    assert_eq!(described, routes());
    for (path, operations) in paths {
        let (method, operation) = operations.as_object().and_then(|all| all.iter().next()).expect("an operation");
        let request = if method == "post" { TestRequest::post() } else { TestRequest::get() }.uri(path);
        let answer = match operation["tags"][0].as_str() {
            Some("admin") => to_admin(&state, request).await,
            _ => to_public(&state, request).await,
        };
        assert!(
            !matches!(answer.status().as_u16(), 405 | 500) && !text(answer).await.contains("nothing here"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_a_token_no_rebound_name_reads_anything() {
    let settings = Settings { admin_hosts: vec!["admin.example".into()], ..Settings::default() };
    let state = state_with(settings, Duration::ZERO);
    let ask = async |target: &str, host: &str| {
        to_admin(&state, TestRequest::get().uri(target).insert_header(("host", host))).await.status().as_u16()
    };
    for target in ["/metrics", "/playground.json", "/openapi.json", "/stats", "/sources", "/variants", "/nothing"] {
        assert_eq!(ask(target, "evil.example:8081").await, 403, "{target}");
        for host in ["localhost:8081", "127.0.0.1", "[::1]:8081", "admin.example:8081"] {
            assert_ne!(ask(target, host).await, 403, "{target} {host}");
        }
    }
    for target in ["/healthz", "/readyz", "/"] {
        assert_eq!(ask(target, "evil.example").await, 200, "{target}");
    }
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    let state = state();
    for target in [&image("w=640&f=webp"), "/image", "/nothing", "/healthz"] {
        let request = TestRequest::get().uri(target).insert_header(("x-request-id", "abc-123"));
        assert_eq!(field(&to_public(&state, request).await, "x-request-id"), "abc-123", "{target}");
        assert_eq!(field(&get(&state, target).await, "x-request-id").len(), 16, "{target}");
        assert_eq!(field(&to_admin(&state, TestRequest::get().uri(target)).await, "x-request-id").len(), 16);
    }
}

#[tokio::test]
async fn an_unknown_path_is_told_what_is_served() {
    let state = state();
    for target in ["/", "/image/", "/favicon.ico"] {
        let answer = get(&state, target).await;
        assert_eq!(answer.status(), 404);
        let detail = text(answer).await;
        assert!(detail.contains("Pixgate") && detail.contains("/image, /_next/image, /placeholder"), "{detail}");
    }
}

#[tokio::test]
async fn metrics_are_in_the_format_that_is_asked_for() {
    let state = state();
    for (accept, media_type, open) in [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", false),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
    ] {
        let request = TestRequest::get().uri("/metrics").insert_header(("accept", accept));
        let answer = to_admin(&state, request).await;
        assert_eq!(field(&answer, "content-type"), media_type);
        assert_eq!(text(answer).await.ends_with("# EOF\n"), open);
    }
}
