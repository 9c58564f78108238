//! Every row of the fetching threats, against an origin on loopback.

use std::process::Command;
use std::sync::atomic::Ordering;

use super::origin::{Origin, Step, raw, redirect, reply};
use super::setup::{SOON, Setup, scripted, settings};
use super::*;
use crate::source::{Refusal, RemotePattern};

#[tokio::test]
async fn a_source_is_downloaded_with_nothing_but_our_own_headers() {
    let fields = "ETag: W/\"1\"\r\nLast-Modified: Tue, 15 Nov 1994 08:00:00 GMT\r\nCache-Control: max-age=60\r\n";
    let origin = Origin::start(move |_, _| reply("200 OK", fields, b"picture")).await;
    let setup = Setup::new(&settings());
    let download = setup.get(&origin.url("/a.jpg?x=1")).await.expect("an image");
    assert_eq!(&download.bytes[..], b"picture");
    assert_eq!(download.validators.etag.as_deref(), Some("W/\"1\""));
    assert_eq!(download.validators.last_modified.as_deref(), Some("Tue, 15 Nov 1994 08:00:00 GMT"));
    assert_eq!((download.caching.max_age, download.caching.storable), (Some(Duration::from_secs(60)), true));

    let heads = origin.heads();
    let mut lines: Vec<&str> = heads[0].trim_end().lines().collect();
    lines[1..].sort_unstable();
    let host = format!("host: {}", origin.address);
    let encodings = "accept-encoding: gzip, deflate, br";
    assert_eq!(
        lines,
        ["get /a.jpg?x=1 http/1.1", encodings, "accept: */*", "cdn-loop: pixgate", &host, "user-agent: pixgate/test"]
    );

    let text = setup.metrics.exposition(crate::telemetry::Exposition::Text);
    assert!(text.contains("pixgate_origin_fetches_total{outcome=\"ok\"} 1"), "{text}");
    assert!(text.contains("pixgate_origin_fetch_seconds_count 1"), "{text}");
}

#[tokio::test]
async fn validators_are_sent_and_304_means_what_it_says_only_then() {
    let origin = Origin::start(|_, _| {
        raw("HTTP/1.1 304 Not Modified\nConnection: close\nAge: 5\nCache-Control: max-age=9", b"")
    })
    .await;
    let setup = Setup::new(&settings());
    let validators = Validators { etag: Some("\"tag\"".into()), last_modified: Some("then".into()) };
    match setup.ask(&origin.url("/a"), Some(&validators)).await {
        Ok(Fetched::NotModified(caching)) => assert_eq!(caching.max_age, Some(Duration::from_secs(4))),
        other => panic!("{other:?}"),
    }
    let head = origin.heads().remove(0);
    assert!(
        head.contains("\r\nif-none-match: \"tag\"\r\n") && head.contains("\r\nif-modified-since: then\r\n"),
        "{head}"
    );
    assert_eq!(setup.fails(&origin.url("/a")).await, Error::Status(304));
    let nothing = setup.ask(&origin.url("/a"), Some(&Validators::default())).await;
    assert_eq!(nothing.expect_err("no condition was sent"), Error::Status(304));
}

#[tokio::test]
async fn statuses_become_errors_except_200_to_203() {
    let origin = Origin::start(|path, _| reply(&path[1..], "", b"body")).await;
    let setup = Setup::new(&settings());
    for status in [200, 201, 202, 203] {
        assert!(setup.get(&origin.url(&format!("/{status}"))).await.is_ok(), "{status}");
    }
    for status in [204, 206, 226, 300, 305, 400, 401, 403, 404, 410, 429, 500, 503, 599] {
        assert_eq!(setup.fails(&origin.url(&format!("/{status}"))).await, Error::Status(status));
    }
    let text = setup.metrics.exposition(crate::telemetry::Exposition::Text);
    assert!(text.contains("pixgate_origin_fetches_total{outcome=\"status\"} 14"), "{text}");
}

/// 100 000 zeros, gzipped: 132 bytes.
fn bomb() -> Vec<u8> {
    let head = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xed\xc11\x01\0\0\0\xc2\xa0\xf5Om\r\x0f\xa0";
    let tail = b"\x80W\x03}\x95\x11\xd4\xa0\x86\x01\0";
    [head.as_slice(), &vec![0; 132 - head.len() - tail.len()], tail].concat()
}

#[tokio::test]
async fn the_byte_cap_counts_decoded_bytes_and_admits_its_own_size() {
    let origin = Origin::start(|path, _| match path {
        "/equal" => reply("200 OK", "", &[1; 1000]),
        "/over" => raw("HTTP/1.1 200 OK", &[1; 1001]),
        "/chunked" => raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"3e9\r\n")
            .into_iter()
            .chain([Step::Send(vec![1; 1001]), Step::Stall])
            .collect(),
        "/endless" => raw("HTTP/1.1 200 OK", &[1; 1000]).into_iter().chain([Step::Drip]).collect(),
        // Refused by its promise: the body never comes.
        "/promise" => raw("HTTP/1.1 200 OK\nContent-Length: 1001", b"").into_iter().chain([Step::Stall]).collect(),
        "/huge" => {
            raw("HTTP/1.1 200 OK\nContent-Length: 99999999999999", b"").into_iter().chain([Step::Stall]).collect()
        }
        _ => reply("200 OK", "Content-Encoding: gzip\r\n", &bomb()),
    })
    .await;
    let setup = Setup::new(&settings());
    assert_eq!(setup.get(&origin.url("/equal")).await.expect("allowed").bytes.len(), 1000);
    for path in ["/over", "/chunked", "/endless", "/promise", "/huge", "/bomb"] {
        assert_eq!(setup.fails(&origin.url(path)).await, Error::TooLarge { limit: 1000 }, "{path}");
    }
    let wide = Setup::new(&Settings { max_bytes: 100_000, ..settings() });
    assert_eq!(wide.get(&origin.url("/bomb")).await.expect("allowed").bytes, vec![0; 100_000]);
    let narrow = Setup::new(&Settings { max_bytes: 99_999, ..settings() });
    assert_eq!(narrow.fails(&origin.url("/bomb")).await, Error::TooLarge { limit: 99_999 });
}

#[tokio::test]
async fn bodies_that_are_empty_cut_or_wrongly_encoded_are_told_apart() {
    let origin = Origin::start(|path, _| match path {
        "/empty" => reply("200 OK", "", b""),
        "/short" => raw("HTTP/1.1 200 OK\nContent-Length: 100", b"only this"),
        "/cut" => raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"64\r\nonly this"),
        "/nothing" => vec![],
        "/half-a-head" => vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-".to_vec())],
        "/no-http" => vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())],
        "/gzip-cut" => reply("200 OK", "Content-Encoding: gzip\r\n", &bomb()[..100]),
        "/gzip-no" => reply("200 OK", "Content-Encoding: gzip\r\n", b"this is no gzip at all, not a bit"),
        "/gzip-bad" => {
            let mut body = bomb();
            body[12] ^= 0xff;
            reply("200 OK", "Content-Encoding: gzip\r\n", &body)
        }
        "/chunks" => raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"no number\r\nonly this"),
        "/chunks-gzip" => {
            raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Encoding: gzip", b"no number\r\nonly this")
        }
        _ => reply("200 OK", "Content-Encoding: zstd\r\n", b"what"),
    })
    .await;
    let setup = Setup::new(&Settings { max_bytes: 200_000, ..settings() });
    for (path, expected) in [
        ("/empty", Error::Empty),
        ("/short", Error::Interrupted),
        ("/cut", Error::Interrupted),
        ("/nothing", Error::Interrupted),
        ("/half-a-head", Error::Interrupted),
        ("/no-http", Error::Interrupted),
        ("/gzip-cut", Error::Interrupted),
        ("/gzip-no", Error::Encoding),
        ("/gzip-bad", Error::Encoding),
        ("/chunks", Error::Interrupted),
        ("/chunks-gzip", Error::Interrupted),
        ("/unknown", Error::Encoding),
    ] {
        assert_eq!(setup.fails(&origin.url(path)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn each_deadline_holds() {
    let origin = Origin::start(|path, address| match path {
        "/silent" => vec![Step::Stall],
        "/drip-head" => vec![Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Drip],
        "/pause" => raw("HTTP/1.1 200 OK", b"some").into_iter().chain([Step::Stall]).collect(),
        "/hop" => redirect(302, &format!("http://{address}/drip")),
        _ => raw("HTTP/1.1 200 OK", b"").into_iter().chain([Step::Drip]).collect(),
    })
    .await;
    let first = Setup::new(&Settings { first_byte_timeout: SOON, ..settings() });
    assert_eq!(first.fails(&origin.url("/silent")).await, Error::Timeout(Phase::FirstByte));
    assert_eq!(first.fails(&origin.url("/drip-head")).await, Error::Timeout(Phase::FirstByte));
    let idle = Setup::new(&Settings { idle_timeout: SOON, ..settings() });
    assert_eq!(idle.fails(&origin.url("/pause")).await, Error::Timeout(Phase::Idle));
    let whole = Setup::new(&Settings { timeout: SOON, max_bytes: u64::MAX, ..settings() });
    assert_eq!(whole.fails(&origin.url("/drip")).await, Error::Timeout(Phase::Total));
    assert_eq!(whole.fails(&origin.url("/hop")).await, Error::Timeout(Phase::Total));
    // TLS against someone who accepts and says nothing: the origin waits for the end of a request's head.
    let connect = Setup::new(&Settings { connect_timeout: SOON, ..settings() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let silent = format!("https://{}/", listener.local_addr().expect("bound"));
    assert_eq!(connect.fails(&silent).await, Error::Timeout(Phase::Connect));
    // A resolver that never answers counts as connecting.
    let never: Lookup = Arc::new(|_| Box::pin(std::future::pending()));
    let lost = Setup::answering(&Settings { connect_timeout: SOON, ..settings() }, never);
    assert_eq!(lost.fails("http://img.test/").await, Error::Timeout(Phase::Connect));
}

#[tokio::test]
async fn redirects_are_followed_by_hand_up_to_their_limit() {
    let origin = Origin::start(|path, address| match path.split_at(1).1 {
        "301" => redirect(301, "/end"),
        "302" => redirect(302, &format!("http://{address}/end")),
        "303" => redirect(303, "end"),
        "307" => redirect(307, &format!("//{address}/end")),
        "308" => redirect(308, "?x"),
        "308?x" => redirect(308, "/end"),
        "private" => reply("302 Found", "Location: /end\r\nCache-Control: private\r\n", b""),
        // The redirect's own body never ends, and is not waited for.
        "body" => raw("HTTP/1.1 302 Found\nLocation: /end", b"").into_iter().chain([Step::Stall]).collect(),
        "nowhere" => reply("302 Found", "", b""),
        "utf-8" => raw("HTTP/1.1 302 Found\nConnection: close\nLocation:  /\u{8c2d}.jpg", b""),
        "latin-1" => {
            vec![Step::Send(b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /\xe9?\xe9\r\n\r\n".to_vec())]
        }
        "%e8%b0%ad.jpg" | "%e9?%e9" => reply("200 OK", "", b"here"),
        "long" => redirect(302, &format!("/end?token={}", "a".repeat(12_000))),
        "too-long" => redirect(302, &format!("/end?token={}", "a".repeat(17_000))),
        "out" => redirect(302, "http://other.test/"),
        "metadata" => redirect(302, "http://169.254.169.254/latest/"),
        "file" => redirect(302, "file:///etc/passwd"),
        "1" => redirect(302, "/2"),
        "2" => redirect(302, "/3"),
        "3" => redirect(302, "/end"),
        "0" => redirect(302, "/1"),
        end if end.starts_with("end") => reply("200 OK", "", b"here"),
        other => panic!("{other} was asked for"),
    })
    .await;
    let setup = Setup::new(&settings());
    for path in ["/301", "/302", "/303", "/307", "/308", "/1", "/body", "/utf-8", "/latin-1", "/long"] {
        let download = setup.get(&origin.url(path)).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(&download.bytes[..], b"here");
        assert!(download.caching.storable);
    }
    assert!(!setup.get(&origin.url("/private")).await.expect("an image").caching.storable);
    assert_eq!(setup.fails(&origin.url("/0")).await, Error::TooManyRedirects);
    assert_eq!(setup.fails(&origin.url("/nowhere")).await, Error::BadRedirect);
    assert_eq!(setup.fails(&origin.url("/too-long")).await, Error::Refused(Refusal::TooLong));
    for path in ["/out", "/metadata"] {
        let error = setup.fails(&origin.url(path)).await;
        assert!(matches!(error, Error::Refused(Refusal::NotAllowed(_))), "{path}: {error}");
    }
    assert!(matches!(setup.fails(&origin.url("/file")).await, Error::Refused(Refusal::Invalid(_))));
    let none = Setup::new(&Settings { max_redirects: 0, ..settings() });
    assert_eq!(none.fails(&origin.url("/3")).await, Error::TooManyRedirects);
    assert!(none.get(&origin.url("/end")).await.is_ok());
}

#[tokio::test]
async fn the_judged_address_is_the_one_dialled_and_a_second_answer_is_judged_again() {
    let origin = Origin::start(|_, _| reply("200 OK", "", b"picture")).await;
    let url = format!("http://img.test:{}/a.jpg", origin.address.port());
    let (lookup, count) = scripted(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let setup = Setup::answering(&settings(), lookup);
    assert!(setup.get(&url).await.is_ok());
    assert_eq!((count.load(Ordering::SeqCst), origin.heads().len()), (1, 1));
    // The origin closed the connection, so this is a new dial, with the answer that would have been dialled unjudged.
    assert_eq!(setup.fails(&url).await, Error::NotPublic);
    assert_eq!((count.load(Ordering::SeqCst), origin.heads().len()), (2, 1));
    let text = setup.metrics.exposition(crate::telemetry::Exposition::Text);
    assert!(text.contains("pixgate_origin_fetches_total{outcome=\"not_public\"} 1"), "{text}");
}

#[tokio::test]
async fn names_are_judged_on_every_hop_and_by_all_their_answers() {
    let origin = Origin::start(|_, address| redirect(302, &format!("http://img.test:{}/", address.port()))).await;
    let (lookup, count) = scripted(&[&["127.0.0.1", "10.0.0.1"]]);
    let setup = Setup::answering(&settings(), lookup);
    assert_eq!(setup.fails(&origin.url("/")).await, Error::NotPublic);
    assert_eq!((count.load(Ordering::SeqCst), origin.heads().len()), (1, 1));
    for private in ["169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1", "0.0.0.0"] {
        let setup = Setup::answering(&settings(), scripted(&[&[private]]).0);
        assert_eq!(setup.fails("http://img.test/").await, Error::NotPublic, "{private}");
    }
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let setup = Setup::answering(&settings(), scripted(&[]).0);
    assert_eq!(setup.fails("http://img.test/").await, Error::Dns);
    let setup = Setup::answering(&settings(), scripted(&[&[]]).0);
    assert_eq!(setup.fails("https://img.test/").await, Error::Dns);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    assert_eq!(setup.fails(&format!("http://{unused}/")).await, Error::Connect);
    let origin = Origin::start(|_, _| raw("HTTP/1.1 400 Bad Request", b"no TLS here")).await;
    assert_eq!(setup.fails(&format!("https://{}/", origin.address)).await, Error::Tls);
}

#[tokio::test]
async fn the_operators_own_origin_skips_the_guard_and_nothing_else_does() {
    let outside = Origin::start(|_, _| reply("200 OK", "", b"outside")).await;
    let away = outside.url("/");
    let origin = Origin::start(move |path, _| match path {
        "/away" => redirect(302, &away),
        "/again" => redirect(302, "/a.jpg"),
        _ => reply("200 OK", "", b"picture"),
    })
    .await;
    let strict = Settings {
        base_url: origin.url("/").parse().ok(),
        allow_cidrs: vec![],
        remote_patterns: vec![RemotePattern {
            protocol: None,
            hostname: crate::source::Glob::hostname("127.*").expect("a pattern"),
            port: None,
            pathname: None,
            search: None,
        }],
        ..settings()
    };
    let setup = Setup::new(&strict);
    assert!(setup.get("/a.jpg").await.is_ok());
    assert!(setup.get("/again").await.is_ok());
    assert!(matches!(setup.fails("/away").await, Error::Refused(Refusal::NotAllowed(_))));
    assert!(outside.heads().is_empty());
    assert!(setup.policy.admit(&origin.url("/a.jpg")).is_err());
}

/// The environment of a process cannot be changed safely, so this runs another test in a process of its own.
#[tokio::test]
async fn the_environments_proxy_is_not_asked() {
    let proxy = Origin::start(|_, _| reply("502 Bad Gateway", "", b"proxy")).await;
    let address = proxy.url("");
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
            command.env(name, &address);
        }
        command.env_remove("NO_PROXY").env_remove("no_proxy");
        let test = "source::fetcher::tests::a_source_is_downloaded_with_nothing_but_our_own_headers";
        command.args(["--exact", test]).output().expect("this test runs")
    });
    let output = output.await.expect("no panic");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(proxy.heads().is_empty());
}
