//! Many placeholders at once: lists, how much of a list is asked for at a time, and how many may be under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::app::{App, Setup};
use crate::harness::client::{Response, enc, request};
use crate::harness::origin::{Gate, Origin, Reply, eventually};
use crate::harness::pictures::{jpeg, png};

async fn post(app: &App, document: &str) -> Response {
    let headers = [("content-type", "application/json")];
    request(app.public, "POST", "/placeholders", &headers, document.as_bytes()).await.expect("an answer")
}

#[tokio::test]
async fn a_list_is_answered_in_its_order_each_with_its_placeholder_or_its_error() {
    let origin = Origin::with("/a.jpg", jpeg(300, 200), "image/jpeg").await;
    origin.set("/b.png", Reply::new(png(80, 160), "image/png"));
    origin.set("/none.jpg", Reply::status(404));
    let app = Setup::new().start().await;
    let [a, b, none] = ["/a.jpg", "/b.png", "/none.jpg"].map(|path| origin.url(path));
    let urls = [a.as_str(), "https://elsewhere.example/x.jpg", &none, &b, "no url", &a];
    let answer = post(&app, &serde_json::json!({ "urls": urls }).to_string()).await;
    assert_eq!((answer.status, answer.must("content-type")), (200, "application/json"));
    assert_eq!((answer.must("cache-control"), answer.must("access-control-allow-origin")), ("no-store", "*"));
    let list = answer.json();
    let list = list.as_array().expect("a list");
    for (at, url, width) in [(0, &a, 300), (3, &b, 80), (5, &a, 300)] {
        let single = app.get(&format!("/placeholder?url={}", enc(url))).await;
        assert_eq!((&list[at], &list[at]["width"]), (&single.json(), &width.into()));
    }
    for (at, status, code) in [(1, 403, "source_not_allowed"), (2, 404, "origin_status"), (4, 400, "url_invalid")] {
        assert_eq!(
            (&list[at]["src"], &list[at]["status"], &list[at]["code"]),
            (&urls[at].into(), &status.into(), &code.into())
        );
    }
    assert_eq!((list.len(), origin.hits("/a.jpg"), origin.hits("/b.png")), (6, 1, 1));

    for document in
        ["", "[]", "{}", r#"{"urls":[]}"#, r#"{"urls":"x"}"#, r#"{"urls":[1]}"#, r#"{"urls":["x"],"more":1}"#]
    {
        post(&app, document).await.problem(400, "urls_invalid");
    }
    post(&app, &serde_json::json!({ "urls": vec!["x"; 101] }).to_string()).await.problem(400, "urls_invalid");
    assert_eq!(post(&app, &serde_json::json!({ "urls": vec!["x"; 100] }).to_string()).await.status, 200);
    post(&app, &serde_json::json!({ "urls": ["x".repeat(1_100_000)] }).to_string())
        .await
        .problem(413, "document_too_large");
    app.get("/placeholders").await.problem(405, "method_not_allowed");
    let preflight = app.send("OPTIONS", "/placeholders", &[("access-control-request-method", "POST")]).await;
    assert_eq!((preflight.status, preflight.must("access-control-allow-methods")), (204, "POST"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_asks_for_eight_sources_at_once_and_no_more() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    let urls: Vec<_> = (0..30)
        .map(|n| {
            let path = format!("/{n}.png");
            origin.set(&path, Reply::new(png(40 + n, 40), "image/png").held(&gate));
            origin.url(&path)
        })
        .collect();
    let app = Setup::new().start().await;
    let document = serde_json::json!({ "urls": urls }).to_string();
    let (answer, ()) = tokio::join!(post(&app, &document), async {
        eventually("eight are asked for", || origin.total_hits() >= 8).await;
        // Time in which a ninth would come.
        for _ in 0..50 {
            assert!(app.lives().await);
        }
        assert_eq!(origin.total_hits(), 8);
        gate.open();
    });
    let list = answer.json();
    assert!(list.as_array().expect("a list").iter().enumerate().all(|(n, one)| one["width"] == 40 + n), "{list}");
    assert_eq!(origin.total_hits(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_are_under_way_at_once_are_bounded() {
    const BOUND: usize = 1_024;
    const MORE: usize = 40;
    // Each is a connection of this process and of the service.
    let files = Rlimit { current: Some(4_096), maximum: getrlimit(Resource::Nofile).maximum };
    setrlimit(Resource::Nofile, files).expect("enough files");
    let origin = Origin::start().await;
    let gate = Gate::shut();
    let picture: Arc<[u8]> = png(8, 8).into();
    for n in 0..BOUND + MORE {
        origin.set(&format!("/{n}.png"), Reply::new(Arc::clone(&picture), "image/png").held(&gate));
    }
    let app = Setup::new().set("limits.queue", 4_096).text("sources.timeout", "60s");
    let app = app.set("limits.downloads", 2_000).set("sources.per_host", 2_000).text("limits.queue_wait", "60s");
    let app = app.start().await;
    let asked: Vec<_> = (0..BOUND + MORE)
        .map(|n| {
            let (public, target) = (app.public, format!("/placeholder?url={}", enc(&origin.url(&format!("/{n}.png")))));
            tokio::spawn(async move { request(public, "GET", &target, &[], b"").await.expect("an answer").status })
        })
        .collect();
    let started = Instant::now();
    while (app.metric("pixgate_shed_total").await as usize) < MORE {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: the rest is refused");
    }
    gate.open();
    let mut answers = [0, 0];
    for one in asked {
        answers[match one.await.expect("no panic") {
            200 => 0,
            503 => 1,
            other => panic!("{other}"),
        }] += 1;
    }
    assert_eq!(answers, [BOUND, MORE]);
}
