//! What the client says stays with us, and what the origin calls private is not kept (threat-model.md: Next.js
//! CVE-2025-57752). Law: judged by what the origin received, and by asking twice, never by a flag.

use crate::harness::app::{Setup, image, next};
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::png;

#[tokio::test]
async fn nothing_of_the_client_reaches_the_origin() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    origin.set("/moved", Reply::redirect(302, "/a.png").header("set-cookie", "session=secret-from-origin"));
    let app = Setup::new().text("sources.base_url", &origin.url("")).start().await;
    let client = [
        ("cookie", "session=secret-of-client"),
        ("authorization", "Bearer secret-of-client"),
        ("proxy-authorization", "Basic secret-of-client"),
        ("x-forwarded-for", "secret-of-client"),
        ("x-api-key", "secret-of-client"),
        ("referer", "http://secret-of-client/"),
        ("user-agent", "secret-of-client"),
        ("accept-language", "secret-of-client"),
        ("accept", "image/webp,image/secret-of-client"),
        ("if-none-match", "\"secret-of-client\""),
        ("range", "bytes=0-1"),
    ];
    for target in [
        next(&origin.url("/a.png"), 64, 75),
        next("/a.png?local", 64, 75),
        image(&origin.url("/moved"), "w=64"),
        format!("/placeholder?url={}", crate::harness::client::enc(&origin.url("/a.png?p"))),
    ] {
        let answer = app.get_with(&target, &client).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
    let received: Vec<_> = ["/a.png", "/moved"].iter().flat_map(|path| origin.received(path)).collect();
    assert!(received.len() >= 4, "{received:?}");
    for request in received {
        assert_eq!(request.method, "GET");
        let everything = format!("{:?}", request.headers);
        assert!(!everything.contains("secret"), "{everything}");
        for name in
            ["cookie", "authorization", "referer", "range", "if-none-match", "x-forwarded-for", "forwarded", "via"]
        {
            assert_eq!(request.header(name), None, "{name}");
        }
        assert_eq!(request.header("host"), Some(origin.address.to_string().as_str()));
    }
}

#[tokio::test]
async fn private_answers_are_passed_on_and_not_kept() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    for (n, (name, value)) in [
        ("cache-control", "private, max-age=600"),
        ("cache-control", "no-store"),
        ("cache-control", "public, No-Store"),
        ("set-cookie", "session=1; Path=/"),
        ("vary", "*"),
        ("vary", "Cookie"),
        ("vary", "Accept-Encoding, Authorization"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}.png");
        let url = origin.url(&path);
        origin.set(&path, Reply::new(png(100 + n as u32, 50), "image/png").header(name, value));
        for asked in 1..=2 {
            let answer = app.next(&url, 64, 75).await;
            assert_eq!(answer.look().width, 64);
            assert_eq!(answer.must("cache-control"), "private, no-store", "{name}: {value}");
            assert_eq!(answer.must("x-nextjs-cache"), "MISS", "{name}: {value}");
            assert_eq!(answer.header("set-cookie"), None);
            assert_eq!(origin.hits(&path), asked, "{name}: {value} was kept");
        }
        let direct = app.image(&url, "w=64").await;
        assert_eq!(direct.must("cache-control"), "private, no-store", "{name}: {value}");
        assert_eq!(origin.hits(&path), 3);
    }
}

#[tokio::test]
async fn harmless_headers_do_not_stop_caching() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    for (n, (name, value)) in [
        ("cache-control", "no-cache"),
        ("cache-control", "public, max-age=60"),
        ("vary", "Accept-Encoding"),
        ("vary", "Accept, Origin"),
        ("pragma", "no-cache"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}.png");
        origin.set(&path, Reply::new(png(100 + n as u32, 50), "image/png").header(name, value));
        app.next(&origin.url(&path), 64, 75).await.look();
        let again = app.next(&origin.url(&path), 64, 75).await;
        assert_eq!((again.must("x-nextjs-cache"), origin.hits(&path)), ("HIT", 1), "{name}: {value}");
        assert!(again.must("cache-control").starts_with("public"));
    }
}

#[tokio::test]
async fn passwords_and_tokens_do_not_reach_the_log() {
    let origin = Origin::with("/a.png", png(100, 50), "image/png").await;
    let app = Setup::new().text("log.level", "debug").text("server.admin_token", "hunter2-admin-token").start().await;
    let with_password = format!("http://someone:hunter2-password@{}/a.png", origin.address);
    assert_eq!(app.next(&with_password, 64, 75).await.status, 400);
    app.get_with(&next(&origin.url("/a.png"), 64, 75), &[("authorization", "Bearer hunter2-bearer")]).await.look();
    app.admin("/metrics", &[("authorization", "Bearer hunter2-admin-token")]).await;
    // A line of its own cannot be forged through the URL either.
    app.next("http://x.example/\r\nlevel=forged hunter3", 64, 75).await;
    let log = app.log();
    assert!(!log.contains("hunter2"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("level=forged")), "{log}");
}
