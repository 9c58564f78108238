//! The access log and the id of a request. Law: one line a request, its id in the answer and in the line.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::app::{App, Setup, image};
use crate::harness::origin::Origin;
use crate::harness::pictures::png;

/// The lines of the log that have `text`, once there is one.
async fn lines(app: &App, text: &str) -> Vec<serde_json::Value> {
    for _ in 0..200 {
        let found: Vec<_> = app.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
        if !found.is_empty() {
            return found.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        }
        // Written by another process: there is nothing else to wait for.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{text} is not in\n{}", app.log());
}

#[tokio::test]
async fn each_request_is_one_line_with_its_id_and_strangers_raise_no_warning() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let app = Setup::new().text("log.format", "json").start().await;
    let target = image(&origin.url("/a.png"), "w=64&f=png");
    for (id, cache) in [("first-1", "miss"), ("second-2", "memory")] {
        let answer = app.get_with(&target, &[("x-request-id", id)]).await;
        assert_eq!((answer.status, answer.header("x-request-id")), (200, Some(id)));
        let lines = lines(&app, id).await;
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!((&line["level"], &line["method"], &line["path"]), (&"INFO".into(), &"GET".into(), &"/image".into()));
        assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &answer.body.len().into()), "{line}");
        assert_eq!((&line["cache"], &line["source"]), (&cache.into(), &"127.0.0.1".into()), "{line}");
        assert!(line["ms"].is_f64() && line["client"] == "127.0.0.1", "{line}");
    }
    for wrong in ["/image?w=64", "/nothing", "/image?w=64&url=http%3A%2F%2Fnot.example%2Fa.png%3Fsecret"] {
        assert!(app.get(wrong).await.status >= 400);
    }
    app.get("/healthz").await;
    app.get_with("/nothing", &[("x-request-id", "the-last")]).await;
    let last = lines(&app, "the-last").await;
    assert_eq!((&last[0]["status"], &last[0]["code"]), (&404.into(), &"not_found".into()));
    let log = app.log();
    assert!(!log.contains("WARN") && !log.contains("healthz") && !log.contains("secret"), "{log}");
    assert!(log.contains("not.example") && log.contains("neither a domain nor a remote pattern"), "{log}");
}

#[tokio::test]
async fn access_lines_can_be_switched_off() {
    let mut app = Setup::new().set("log.access", false).start().await;
    assert_eq!(app.get("/nothing").await.status, 404);
    // What was written is read once the service has ended.
    app.signal(Signal::INT);
    assert_eq!(app.exit_code().await, Some(0));
    assert!(!app.log().contains("/nothing"), "{}", app.log());
}
