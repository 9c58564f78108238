//! `/_next/image`: the validation table of the Next.js contract (nextjs-contract.md 1.2), row by row and in its order, with its
//! exact texts; then routes and methods. Law: every row's request also breaks later rows, so that a check made out of
//! order shows; nothing refused here reaches the origin.

use crate::harness::app::{App, Setup, next};
use crate::harness::client::enc;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{jpeg, png};

const REQUIRED: &str = r#""url" parameter is required"#;
const ARRAY: &str = r#""url" parameter cannot be an array"#;
const TOO_LONG: &str = r#""url" parameter is too long"#;
const PROTOCOL_RELATIVE: &str = r#""url" parameter cannot be a protocol-relative URL (//)"#;
const RECURSIVE: &str = r#""url" parameter cannot be recursive"#;
const NOT_ALLOWED: &str = r#""url" parameter is not allowed"#;
const INVALID: &str = r#""url" parameter is invalid"#;
const W_REQUIRED: &str = r#""w" parameter (width) is required"#;
const W_ARRAY: &str = r#""w" parameter (width) cannot be an array"#;
const W_INTEGER: &str = r#""w" parameter (width) must be an integer greater than 0"#;
const Q_REQUIRED: &str = r#""q" parameter (quality) is required"#;
const Q_ARRAY: &str = r#""q" parameter (quality) cannot be an array"#;
const Q_INTEGER: &str = r#""q" parameter (quality) must be an integer between 1 and 100"#;

async fn started() -> (Origin, App) {
    let origin = Origin::with("/a.png", png(1000, 500), "image/png").await;
    origin.set("/public/a.png", Reply::new(png(1000, 500), "image/png"));
    let app = Setup::new()
        .text("sources.base_url", &origin.url(""))
        .set("sources.local_patterns", r#"[{ pathname = "/public/**", search = "" }]"#)
        .start()
        .await;
    (origin, app)
}

#[tokio::test]
async fn urls_are_refused_in_order_with_the_exact_text() {
    let (origin, app) = started().await;
    let long = format!("//{}", "a".repeat(3071));
    let astral = format!("//{}", "\u{1F600}".repeat(1536));
    let rows: &[(&str, &str)] = &[
        // 1 to 3: missing, repeated, too long (UTF-16 units, so an astral character counts twice)
        ("", REQUIRED),
        ("w=64&q=75", REQUIRED),
        ("url=&url=", ARRAY),
        ("url=%2F%2Fx&url=%2F%2Fy", ARRAY),
        (&format!("url={}", enc(&long)), TOO_LONG),
        (&format!("url={}", enc(&astral)), TOO_LONG),
        // 4 to 6: paths
        ("url=%2F%2Fexample.com%2Fa.png", PROTOCOL_RELATIVE),
        ("url=%2F%2F_next%2Fimage", PROTOCOL_RELATIVE),
        ("url=%2F_next%2Fimage", RECURSIVE),
        ("url=%2F_next%2Fimage%3Furl%3D%252Fa.png%26w%3D64%26q%3D75", RECURSIVE),
        ("url=%2F_next%2Fimage%2Fdeeper", RECURSIVE),
        ("url=%2Fassets%2F_next%2Fimage%3Furl%3Dx", RECURSIVE),
        ("url=%2F%255Fnext%2Fimage", RECURSIVE),
        ("url=%2Fprivate%2Fa.png", NOT_ALLOWED),
        ("url=%2Fpublic%2Fa.png%3Fv%3D1", NOT_ALLOWED),
        ("url=%2Fpublic%2F..%2Fa.png", NOT_ALLOWED),
        ("url=%2Fpublic%2F%252e%252e%2Fa.png", NOT_ALLOWED),
        // 7 to 9: absolute URLs
        ("url=a.png", INVALID),
        ("url=http%3A%2F%2F", INVALID),
        ("url=ftp%3A%2F%2F127.0.0.1%2Fa.png", INVALID),
        ("url=file%3A%2F%2F%2Fetc%2Fpasswd", INVALID),
        ("url=javascript%3Aalert(1)", INVALID),
        ("url=http%3A%2F%2Fother.example%2Fa.png", NOT_ALLOWED),
        ("url=http%3A%2F%2F127.0.0.1.other.example%2Fa.png", NOT_ALLOWED),
    ];
    for (query, text) in rows {
        app.get(&format!("/_next/image?{query}")).await.plain(400, text);
    }
    app.get("/_next/image").await.plain(400, REQUIRED);
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn the_longest_url_passes() {
    let (_origin, app) = started().await;
    let path = |units: usize| format!("/public/{}", "é".repeat(units - "/public/".len()));
    app.get(&format!("/_next/image?url={}", enc(&path(3072)))).await.plain(400, W_REQUIRED);
    app.get(&format!("/_next/image?url={}", enc(&path(3073)))).await.plain(400, TOO_LONG);
}

#[tokio::test]
async fn widths_and_qualities_are_refused_in_order_with_the_exact_text() {
    let (origin, app) = started().await;
    let url = enc(&origin.url("/a.png"));
    let w_of = |n: u32| format!(r#""w" parameter (width) of {n} is not allowed"#);
    let q_of = |n: u32| format!(r#""q" parameter (quality) of {n} is not allowed"#);
    let text = str::to_owned;
    let rows = [
        // 10 to 12
        ("", text(W_REQUIRED)),
        ("q=200", text(W_REQUIRED)),
        ("w=&q=75", text(W_REQUIRED)),
        ("w=64&w=64", text(W_ARRAY)),
        ("w=abc", text(W_INTEGER)),
        ("w=-1", text(W_INTEGER)),
        ("w=%2B1", text(W_INTEGER)),
        ("w=1.5", text(W_INTEGER)),
        ("w=%2064", text(W_INTEGER)),
        ("w=64px", text(W_INTEGER)),
        ("w=0x40", text(W_INTEGER)),
        // 13 to 15, before any width is looked up
        ("w=1000", text(Q_REQUIRED)),
        ("w=0", text(Q_REQUIRED)),
        ("w=64&q=", text(Q_REQUIRED)),
        ("w=1000&q=75&q=75", text(Q_ARRAY)),
        ("w=1000&q=abc", text(Q_INTEGER)),
        ("w=0&q=-1", text(Q_INTEGER)),
        ("w=64&q=7.5", text(Q_INTEGER)),
        // 16 to 19
        ("w=0&q=200", text(W_INTEGER)),
        ("w=0&q=75", text(W_INTEGER)),
        ("w=1000&q=200", w_of(1000)),
        ("w=8&q=70", w_of(8)),
        ("w=0100&q=75", w_of(100)),
        ("w=64&q=0", text(Q_INTEGER)),
        ("w=64&q=101", text(Q_INTEGER)),
        ("w=64&q=33", q_of(33)),
        ("w=64&q=100", q_of(100)),
    ];
    for (rest, text) in rows {
        app.get(&format!("/_next/image?url={url}&{rest}")).await.plain(400, &text);
    }
    let huge = app.get(&format!("/_next/image?url={url}&w=99999999999999999999&q=75")).await;
    assert_eq!(huge.status, 400);
    assert!(huge.text().starts_with(r#""w" parameter (width) "#), "{}", huge.text());
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn leading_zeros_mean_the_same_width_and_share_the_entry() {
    let (origin, app) = started().await;
    let url = enc(&origin.url("/a.png"));
    let plain = app.get(&format!("/_next/image?url={url}&w=640&q=75")).await;
    assert_eq!((plain.look().size(), plain.must("x-nextjs-cache")), ((640, 320), "MISS"));
    let zeros = app.get(&format!("/_next/image?url={url}&w=0640&q=075")).await;
    assert_eq!((zeros.status, zeros.must("x-nextjs-cache")), (200, "HIT"));
    assert_eq!(zeros.must("etag"), plain.must("etag"));
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_not_in_the_key() {
    let (origin, app) = started().await;
    let target = next(&origin.url("/a.png"), 64, 75);
    assert_eq!(app.get(&target).await.must("x-nextjs-cache"), "MISS");
    for more in ["&dpl=dpl_8", "&h=100", "&f=avif", "&x=1&x=2"] {
        let answer = app.get(&format!("{target}{more}")).await;
        assert_eq!((answer.status, answer.must("x-nextjs-cache")), (200, "HIT"), "{more}");
        assert_eq!(answer.look().mime, "image/png");
    }
    assert_eq!(origin.hits("/a.png"), 1);
}

#[tokio::test]
async fn hard_urls_are_400_and_go_nowhere() {
    let (origin, app) = started().await;
    let with_password = format!("http://user:pw@{}/a.png", origin.address);
    let with_user = format!("http://user@{}/a.png", origin.address);
    let elsewhere = format!("/\\{}/a.png", origin.address);
    for url in ["/public/%zz/a.png", "/public/%/a.png", &elsewhere, &with_password, &with_user] {
        let answer = app.next(url, 64, 75).await;
        assert_eq!(answer.status, 400, "{url}: {}", answer.text());
        assert_eq!(answer.must("cache-control"), "no-store");
    }
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn local_urls_come_from_the_base_url() {
    let (origin, app) = started().await;
    let answer = app.next("/public/a.png", 64, 75).await;
    assert_eq!(answer.look().size(), (64, 32));
    assert_eq!(origin.hits("/public/a.png"), 1);
    // Without a base URL there is no app to ask.
    let alone = Setup::new().start().await;
    alone.next("/public/a.png", 64, 75).await.plain(400, NOT_ALLOWED);
}

#[tokio::test]
async fn remote_patterns_are_asked_too() {
    let origin = Origin::with("/ok/deep/a.png", png(100, 50), "image/png").await;
    origin.set("/other/a.png", Reply::new(png(100, 50), "image/png"));
    let port = origin.address.port();
    let patterns = format!(
        r#"[{{ protocol = "http", hostname = "127.0.0.*", port = "{port}", pathname = "/ok/**", search = "" }}]"#
    );
    let app = Setup::new().set("sources.domains", "[]").set("sources.remote_patterns", patterns).start().await;
    assert_eq!(app.next(&origin.url("/ok/deep/a.png"), 64, 75).await.look().size(), (64, 32));
    for refused in [
        origin.url("/other/a.png"),
        origin.url("/ok/../other/a.png"),
        origin.url("/ok/%2e%2e/other/a.png"),
        origin.url("/ok/deep/a.png?v=1"),
        format!("https://127.0.0.1:{port}/ok/deep/a.png"),
        "http://127.0.0.1/ok/deep/a.png".to_owned(),
    ] {
        app.next(&refused, 64, 75).await.plain(400, NOT_ALLOWED);
    }
    assert_eq!(origin.total_hits(), 1);
}

#[tokio::test]
async fn routes_and_methods() {
    let (origin, app) = started().await;
    let query = format!("url={}&w=64&q=75", enc(&origin.url("/a.png")));
    let slash = app.get(&format!("/_next/image/?{query}")).await;
    assert_eq!(slash.status, 308);
    assert!(slash.must("location").ends_with(&format!("/_next/image?{query}")), "{:?}", slash.headers);
    for path in ["/_next/image/foo", "/_next/imagefoo", "/_next", "/next/image"] {
        assert_eq!(app.get(&format!("{path}?{query}")).await.status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(app.send(method, &format!("/_next/image?{query}"), &[]).await.status, 405, "{method}");
    }
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn the_path_is_configurable() {
    let origin = Origin::with("/a.jpg", jpeg(100, 50), "image/jpeg").await;
    let app = Setup::new().text("server.next_path", "/media/optimizer").start().await;
    let target = next(&origin.url("/a.jpg"), 64, 75);
    assert_eq!(app.get(&target).await.status, 404);
    let moved = app.get(&target.replace("/_next/image", "/media/optimizer")).await;
    assert_eq!(moved.look().size(), (64, 32));
}
