//! Health, readiness and the admin listener: what answers where, and to whom. Law: metrics never leave the admin
//! listener, and that listener does not open beyond loopback without a token.

use crate::harness::app::{Setup, image, next};
use crate::harness::origin::Origin;
use crate::harness::pictures::png;

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
    for _ in 0..2 {
        app.get(&image(&origin.url("/a.png"), "w=64&f=webp")).await.look();
    }
    app.get(&next(&origin.url("/a.png"), 64, 75)).await.look();
    app.get(&image(&origin.url("/a.png"), "w=7")).await;
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
