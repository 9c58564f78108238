//! `/image`, the bad cases: every wrong parameter is a 400 problem with a stable code and `no-store`, and
//! costs the origin nothing. Law: one row, one fault; a row that passes must fail for its own reason, so the code is checked.

use crate::harness::app::{Setup, image};
use crate::harness::code;
use crate::harness::origin::Origin;
use crate::harness::pictures::jpeg;

#[tokio::test]
async fn each_bad_parameter_is_a_problem_of_its_own() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.jpg");
    let rows = [
        ("w=100", code::WIDTH_NOT_ALLOWED),
        ("w=1", code::WIDTH_NOT_ALLOWED),
        ("w=100000", code::WIDTH_NOT_ALLOWED),
        ("w=384&dpr=3", code::WIDTH_NOT_ALLOWED),
        ("w=3840&dpr=4", code::WIDTH_NOT_ALLOWED),
        ("w=0", "width_invalid"),
        ("w=-64", "width_invalid"),
        ("w=64.5", "width_invalid"),
        ("w=abc", "width_invalid"),
        ("w=", "width_invalid"),
        ("w=%2064", "width_invalid"),
        ("w=99999999999999999999", "width_invalid"),
        ("h=100", code::HEIGHT_NOT_ALLOWED),
        ("h=0", "height_invalid"),
        ("w=64&q=33", code::QUALITY_NOT_ALLOWED),
        ("w=64&q=0", "quality_invalid"),
        ("w=64&q=101", "quality_invalid"),
        ("w=64&q=high", "quality_invalid"),
        ("w=64&dpr=0", "dpr_invalid"),
        ("w=64&dpr=5", "dpr_invalid"),
        ("w=64&dpr=x", "dpr_invalid"),
        ("w=64&bg=red", "background_invalid"),
        ("w=64&bg=12345", "background_invalid"),
        ("w=64&bg=gggggg", "background_invalid"),
        ("w=64&f=gif", "format_invalid"),
        ("w=64&f=", "format_invalid"),
        ("w=64&fit=squash", "fit_invalid"),
        ("w=64&size=3", code::PARAMETER_UNKNOWN),
        ("w=64&W=64", code::PARAMETER_UNKNOWN),
        ("w=64&utm=1", code::PARAMETER_UNKNOWN),
        ("w=64&w=64", "width_repeated"),
        ("w=64&width=64", "width_repeated"),
        ("w=64&q=75&quality=75", "quality_repeated"),
        ("w=64&f=webp&format=webp", "format_repeated"),
        ("w=64&url=http%3A%2F%2F127.0.0.1%2Fb", "url_repeated"),
    ];
    for (rest, code) in rows {
        let answer = app.image(&url, rest).await;
        let detail = answer.problem(400, code);
        assert!(!detail.contains("panicked") && !detail.contains("src/"), "{detail}");
    }
    assert_eq!(origin.total_hits(), 0, "nothing is fetched for a request that cannot be served");
}

#[tokio::test]
async fn the_url_must_be_there_and_be_one() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let app = Setup::new().start().await;
    for (target, code) in [
        ("/image", code::URL_MISSING),
        ("/image?w=64", code::URL_MISSING),
        ("/image?url=&w=64", code::URL_MISSING),
        ("/image?url=photo.jpg&w=64", code::URL_INVALID),
        ("/image?url=%2F%2F127.0.0.1%2Fa.jpg&w=64", code::URL_INVALID),
        ("/image?url=ftp%3A%2F%2F127.0.0.1%2Fa.jpg&w=64", code::URL_INVALID),
        ("/image?url=file%3A%2F%2F%2Fetc%2Fpasswd&w=64", code::URL_INVALID),
        ("/image?url=data%3Aimage%2Fpng%3Bbase64%2CAAAA&w=64", code::URL_INVALID),
        ("/image?url=http%3A%2F%2F&w=64", code::URL_INVALID),
        ("/image?url=http%3A%2F%2Fother.example%2Fa.jpg&w=64", code::URL_NOT_ALLOWED),
    ] {
        let status = if code == code::URL_NOT_ALLOWED { 403 } else { 400 };
        app.get(target).await.problem(status, code);
    }
    let long = format!("http://{}/{}.jpg", origin.address, "a".repeat(3100));
    app.image(&long, "w=64").await.problem(400, code::URL_INVALID);
    // A path needs sources.base_url; without it there is nothing to resolve against.
    app.image("/a.jpg", "w=64").await.problem(403, code::URL_NOT_ALLOWED);
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn an_empty_allow_list_admits_nothing() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let app = Setup::new().without("sources.domains").start().await;
    app.image(&origin.url("/a.jpg"), "w=64").await.problem(403, code::URL_NOT_ALLOWED);
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn tracking_parameters_are_ignored_and_share_the_entry() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let app = Setup::new().start().await;
    let url = origin.url("/a.jpg");
    let plain = app.image(&url, "w=64&f=webp").await;
    let tracked = app.image(&url, "w=64&f=webp&utm_source=mail&utm_campaign=x&dpl=dpl_123").await;
    assert_eq!((tracked.status, tracked.must("etag")), (200, plain.must("etag")));
    assert!(tracked.must("cache-status").contains("hit"), "{:?}", tracked.headers);
}

#[tokio::test]
async fn a_path_is_resolved_against_the_base_url() {
    let origin = Origin::with("/media/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let app = Setup::new().text("sources.base_url", &origin.url("")).start().await;
    assert_eq!(app.image("/media/a.jpg", "w=64&f=png").await.look().size(), (64, 32));
    assert_eq!(origin.hits("/media/a.jpg"), 1);
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let app = Setup::new().start().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = app.send(method, &image(&origin.url("/a.jpg"), "w=64"), &[]).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.must("cache-control"), "no-store");
    }
    for path in ["/", "/image/", "/image/x", "/images", "/nothing"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.must("cache-control"), "no-store", "{path}");
    }
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn oversized_requests_are_turned_away() {
    let app = Setup::new().start().await;
    let answer = app.get(&format!("/image?url={}", "a".repeat(60_000))).await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    // The server may answer 4xx or cut the connection; it must not keep reading for ever, nor die.
    let huge = "b".repeat(300_000);
    let sent = crate::harness::client::request(app.public, "GET", "/healthz", &[("x-huge", &huge)], b"").await;
    assert!(sent.map_or(true, |answer| (400..500).contains(&answer.status)));
    assert!(app.lives().await);
}
