//! Health, readiness and the admin listener: what answers where, and to whom. Law: metrics never leave the admin
//! listener, and that listener does not open beyond loopback without a token.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::app::{Setup, image, next};
use crate::harness::client::enc;
use crate::harness::origin::Origin;
use crate::harness::pictures::png;
use crate::metadata::up;
use crate::purge::purge;

#[tokio::test]
async fn health_and_readiness() {
    let app = Setup::new().start().await;
    let health = app.get("/healthz").await;
    assert_eq!((health.status, health.must("cache-control")), (200, "no-store"));
    let ready = app.get("/readyz").await;
    assert_eq!((ready.status, ready.must("cache-control")), (200, "no-store"));
    assert!(ready.must("content-type").starts_with("application/json"));
    assert!(ready.json().is_object(), "{}", ready.text());
    let head = app.send("HEAD", "/healthz", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn metrics_are_on_the_admin_listener_alone() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::new().start().await;
    up(&app).await;
    for _ in 0..2 {
        app.get(&image(&origin.url("/a.png"), "w=64&f=webp")).await.look();
    }
    app.get(&next(&origin.url("/a.png"), 64, 75)).await.look();
    app.get(&image(&origin.url("/a.png"), "w=7")).await;
    assert_eq!(purge(&app, r#"{"host":"elsewhere.example"}"#).await.status, 200);
    let page = app.admin("/metrics", &[]).await;
    assert_eq!(page.status, 200);
    let mime = page.must("content-type");
    assert!(mime.starts_with("text/plain") || mime.starts_with("application/openmetrics-text"), "{mime}");
    let text = page.text();
    for name in [
        "pixgate_requests_total",
        "pixgate_request_seconds",
        "pixgate_cache_lookups_total",
        "pixgate_cache_bytes",
        "pixgate_origin_fetches_total",
        "pixgate_origin_fetch_seconds",
        "pixgate_renders_total",
        "pixgate_render_seconds",
        "pixgate_queue_depth",
        "pixgate_decode_bytes",
        "pixgate_shed_total",
        "pixgate_metadata_up",
        "pixgate_metadata_pool_connections",
        "pixgate_metadata_acquire_seconds",
        "pixgate_metadata_seconds",
        "pixgate_metadata_writes_total",
        "pixgate_bytes_saved_total",
        "pixgate_purges_total",
    ] {
        let described = name.trim_end_matches("_total");
        assert!(text.contains(&format!("# TYPE {described}")), "{name} is not described");
    }
    assert!((app.metric("pixgate_origin_fetches_total").await - 1.0).abs() < 0.5);
    assert!((app.metric("pixgate_renders_total").await - 2.0).abs() < 0.5);
    assert!(app.metric("pixgate_requests_total").await >= 4.0);
    // Labels come from closed sets, never from a URL.
    assert!(!text.contains("127.0.0.1") && !text.contains("a.png"), "{text}");
    for path in ["/metrics", "/stats", "/variants", "/sources", "/purge"] {
        assert_eq!(app.get(path).await.status, 404, "{path} on the public listener");
    }
    let stranger = app.admin(&image(&origin.url("/a.png"), "w=64"), &[]).await;
    assert_ne!(stranger.header("content-type"), Some("image/webp"), "pictures are not served on the admin listener");
}

#[tokio::test]
async fn no_open_admin_without_a_token() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = Setup::new().text("server.admin_listen", listen).refuses();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("server.admin_token"), "names the key that is missing: {said}");
    }
}

#[tokio::test]
async fn the_token_is_enforced() {
    let token = "a-long-enough-admin-token-0123456789";
    for listen in ["0.0.0.0:0", "127.0.0.1:0"] {
        let app = Setup::new().text("server.admin_listen", listen).text("server.admin_token", token).start().await;
        for wrong in ["", "Bearer", "Bearer wrong", "Bearer a-long-enough-admin-token-012345678", "Basic YTpi", token] {
            let answer = app.admin("/metrics", &[("authorization", wrong)]).await;
            assert_eq!(answer.status, 401, "{wrong:?} on {listen}");
            assert!(answer.must("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
            assert!(!answer.text().contains("pixgate_requests"));
        }
        assert_eq!(app.admin("/metrics", &[]).await.status, 401);
        let right = app.admin("/metrics", &[("authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(right.status, 200, "{listen}");
        assert!(right.text().contains("pixgate_requests"));
        assert!(app.lives().await, "the public listener asks for nothing");
    }
}

#[tokio::test]
async fn the_token_may_come_from_a_file() {
    let dir = crate::harness::app::TempDir::new();
    let file = dir.write("token", "token-from-a-file-0123456789abcdef\n");
    let app = Setup::new().text("server.admin_token_file", &file.to_string_lossy()).start().await;
    assert_eq!(app.admin("/metrics", &[]).await.status, 401);
    let right = [("authorization", "Bearer token-from-a-file-0123456789abcdef")];
    assert_eq!(app.admin("/metrics", &right).await.status, 200);
}

#[tokio::test]
async fn a_port_in_use_is_said_clearly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let (code, said) = Setup::new().text("server.listen", &address).refuses();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address), "names the address: {said}");
}

/// Whether `value` is what the schema says, as far as the description uses the language: types, keys, items, names.
fn matches(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return matches(document, document.pointer(&reference[1..]).expect("a schema"), value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = types.is_empty() || types.contains(&is) || (is == "integer" && types.contains(&"number"));
    assert!(fits, "{at}: {value} is no {types:?}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{at}: {value} is none of {names:?}");
    }
    if let (Some(known), Some(members)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, member) in members {
            let schema = known.get(name).unwrap_or_else(|| panic!("{at}: {name} is not described"));
            matches(document, schema, member, &format!("{at}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(members.contains_key(name), "{at}: {name} is missing");
        }
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        matches(document, &schema["items"], item, at);
    }
}

#[tokio::test]
async fn answers_are_what_the_description_says() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let url = origin.url("/a.png");
    let app = Setup::new().text("metadata.flush_interval", "100ms").start().await;
    crate::metadata::up(&app).await;
    for rest in ["w=64&f=webp", "w=64&f=avif", "w=640&f=jpeg", "w=16"] {
        app.image(&url, rest).await.look();
    }
    let document = app.admin("/openapi.json", &[]).await.json();
    let started = Instant::now();
    while app.admin("/stats", &[]).await.json()["requests"] != 4 {
        assert!(started.elapsed() < Duration::from_secs(10), "the store is told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let encoded = enc(&url);
    let admin = ["/stats", "/sources", &format!("/variants?url={encoded}"), "/playground.json"];
    let public = [format!("/placeholder?url={encoded}"), "/readyz".into(), "/healthz".into()];
    let mut answers = Vec::new();
    for target in admin {
        answers.push((target.to_owned(), app.admin(target, &[]).await));
    }
    for target in public {
        answers.push((target.clone(), app.get(&target).await));
    }
    for (target, answer) in answers {
        let path = target.split('?').next().unwrap_or_default();
        let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object() && answer.status == 200, "{target}: {}", answer.text());
        matches(&document, schema, &answer.json(), &target);
    }
    let problem = app.get("/image").await;
    matches(&document, &document["components"]["schemas"]["Problem"], &problem.json(), "a problem");
    let purged = crate::purge::purge(&app, &format!(r#"{{"url":"{url}"}}"#)).await;
    matches(&document, &document["components"]["schemas"]["PurgeReport"], &purged.json(), "a purge");
}

#[tokio::test]
async fn pages_open_without_the_token_and_hold_no_data() {
    let token = "a-long-enough-admin-token-0123456789";
    let app =
        Setup::new().text("server.admin_token", token).text("sources.base_url", "http://secret.example").start().await;
    for page in ["/", "/dashboard"] {
        let answer = app.admin(page, &[]).await;
        assert_eq!((answer.status, answer.must("cache-control")), (200, "no-store"));
        assert!(answer.must("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!answer.text().contains(token) && !answer.text().contains("secret.example"));
    }
    for data in ["/playground.json", "/stats", "/openapi.json", "/sources"] {
        assert_eq!(app.admin(data, &[]).await.status, 401, "{data}");
    }
}
