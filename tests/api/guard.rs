//! The address guard and the policy on every hop (threat-model.md, fetching): literal and named addresses, IPv4 in all its
//! spellings, IPv6 that carries IPv4, redirects, userinfo, schemes, proxies of the environment.
//! Law: a refusal has one public text whatever its reason, and the refused address is never dialled.

use crate::harness::app::{App, Setup, image, next};
use crate::harness::code;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::png;

const INVALID: &str = r#""url" parameter is invalid"#;
const NOT_ALLOWED: &str = r#""url" parameter is not allowed"#;

async fn origin() -> Origin {
    Origin::with("/a.png", png(100, 50), "image/png").await
}

async fn refused(app: &App, url: &str) {
    let answer = app.next(url, 64, 75).await;
    assert_eq!((answer.status, answer.text().as_str()), (400, NOT_ALLOWED), "{url}");
    app.image(url, "w=64").await.problem(403, code::URL_NOT_ALLOWED);
}

#[tokio::test]
async fn private_and_reserved_ipv4_is_refused_in_every_spelling() {
    let origin = origin().await;
    let app = Setup::guarded().start().await;
    let port = origin.address.port();
    // Loopback, as it is and as the WHATWG parser reads decimal, octal, hex, short and full-width forms.
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.01",
        "127.0.0.1.",
        "①②⑦.0.0.1",
    ] {
        refused(&app, &format!("http://{host}:{port}/a.png")).await;
    }
    for host in [
        "0.0.0.0",
        "0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.254",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
    ] {
        refused(&app, &format!("http://{host}/a.png")).await;
    }
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn ipv6_and_the_ipv4_inside_it_is_refused() {
    let origin = origin().await;
    let app = Setup::guarded().start().await;
    let port = origin.address.port();
    for host in [
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:0:127.0.0.1",
        "::127.0.0.1",
        "0:0:0:0:0:ffff:a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::7f00:1",
        "2001:0:7f00:1::1",
        "fe80::1",
        "fe80::5efe:127.0.0.1",
        "2001:db8::5efe:127.0.0.1",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "5f00::1",
    ] {
        refused(&app, &format!("http://[{host}]:{port}/a.png")).await;
    }
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to() {
    let origin = origin().await;
    let url = format!("http://localhost:{}/a.png", origin.address.port());
    let guarded = Setup::guarded().start().await;
    refused(&guarded, &url).await;
    refused(&guarded, &url.replace("localhost", "LOCALHOST")).await;
    assert_eq!(origin.total_hits(), 0);
    // The reason goes to the log, where the operator looks for it.
    let named = || guarded.log().contains("localhost") || guarded.log().contains("127.0.0.1");
    guarded.until("the log names it", named).await;
    // The same name is fine where local addresses are.
    let open = Setup::new().set("sources.domains", r#"["localhost"]"#).start().await;
    assert_eq!(open.next(&url, 64, 75).await.look().width, 64);
}

#[tokio::test]
async fn allow_cidrs_opens_exactly_what_it_names() {
    let origin = origin().await;
    let app = Setup::guarded().set("sources.allow_cidrs", r#"["127.0.0.0/30"]"#).start().await;
    assert_eq!(app.next(&origin.url("/a.png"), 64, 75).await.look().width, 64);
    let port = origin.address.port();
    for host in ["127.0.0.4", "[::1]", "10.0.0.1", "169.254.169.254"] {
        refused(&app, &format!("http://{host}:{port}/a.png")).await;
    }
}

#[tokio::test]
async fn a_wildcard_host_needs_the_word_for_it() {
    let (code, said) = Setup::new().set("sources.remote_patterns", r#"[{ hostname = "**" }]"#).refuses();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("sources.remote_patterns") && said.contains("allow_any_host"), "{said}");
}

#[tokio::test]
async fn every_hop_passes_the_whole_policy() {
    let origin = origin().await;
    let port = origin.address.port();
    let app = Setup::new().start().await;
    for (n, target) in [
        format!("http://localhost:{port}/a.png"),
        "http://other.example/a.png".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/a.png".to_owned(),
        format!("http://user:pw@127.0.0.1:{port}/a.png"),
        format!("//localhost:{port}/a.png"),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/out/{n}");
        origin.set(&path, Reply::redirect(302, target));
        let answer = app.next(&origin.url(&path), 64, 75).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
        assert_eq!(answer.must("cache-control"), "no-store");
    }
    assert_eq!(origin.hits("/a.png"), 0, "the forbidden hop was dialled");
}

#[tokio::test]
async fn a_redirect_into_the_private_network_is_refused() {
    // Loopback is opened by CIDR for the first hop; the next one leads to what is not opened.
    let origin = origin().await;
    let app = Setup::guarded().set("sources.allow_cidrs", r#"["127.0.0.1/32"]"#).start().await;
    for (n, host) in ["127.0.0.2", "10.0.0.1", "[::1]", "169.254.169.254", "[::ffff:127.0.0.2]"].iter().enumerate() {
        let path = format!("/in/{n}");
        origin.set(&path, Reply::redirect(307, &format!("http://{host}:{}/a.png", origin.address.port())));
        app.next(&origin.url(&path), 64, 75).await.plain(400, NOT_ALLOWED);
    }
    assert_eq!(origin.hits("/a.png"), 0);
}

#[tokio::test]
async fn good_redirects_are_followed_so_many_times() {
    let origin = origin().await;
    for (n, status) in [(1, 301), (2, 302), (3, 303), (4, 307), (5, 308)] {
        let to = if n == 1 { "/a.png".to_owned() } else { format!("/hop/{}", n - 1) };
        origin.set(&format!("/hop/{n}"), Reply::redirect(status, &to));
    }
    origin.set("/loop", Reply::redirect(302, "/loop"));
    let app = Setup::new().start().await;
    let text = r#""url" parameter is valid but upstream response is invalid"#;
    assert_eq!(app.next(&origin.url("/hop/3"), 64, 75).await.look().width, 64);
    app.next(&origin.url("/hop/4"), 64, 75).await.plain(508, text);
    app.next(&origin.url("/loop"), 64, 75).await.plain(508, text);
    assert_eq!(origin.hits("/loop"), 4, "the first request and three hops");
    app.image(&origin.url("/hop/5"), "w=64").await.problem(508, code::TOO_MANY_REDIRECTS);
    let none = Setup::new().set("sources.max_redirects", 0).start().await;
    none.next(&origin.url("/hop/1"), 64, 75).await.plain(508, text);
    let more = Setup::new().set("sources.max_redirects", 5).start().await;
    assert_eq!(more.next(&origin.url("/hop/5"), 64, 75).await.look().width, 64);
}

#[tokio::test]
async fn path_tricks_do_not_leave_the_allowed_prefix() {
    let origin = origin().await;
    origin.set("/pub/a.png", Reply::new(png(100, 50), "image/png"));
    origin.set("/public/secret.png", Reply::new(png(100, 50), "image/png"));
    let patterns = r#"[{ hostname = "127.0.0.1", pathname = "/pub/**" }]"#;
    let app = Setup::new().set("sources.domains", "[]").set("sources.remote_patterns", patterns).start().await;
    assert_eq!(app.next(&origin.url("/pub/a.png"), 64, 75).await.look().width, 64);
    for path in [
        "/a.png",
        "/public/secret.png",
        "/pub/../a.png",
        "/pub/%2e%2e/a.png",
        "/pub/%2E./a.png",
        "/pub/.%2e/a.png",
        "/pub\\..\\a.png",
        "/pub/..\\a.png",
        "/pub/x/../../a.png",
        "/PUB/a.png",
    ] {
        let answer = app.next(&origin.url(path), 64, 75).await;
        // Where no two parsers read a path alike it is no valid URL for us; where it leads elsewhere it is not allowed.
        let text = if answer.text() == INVALID { INVALID } else { NOT_ALLOWED };
        answer.plain(400, text);
    }
    assert_eq!(origin.total_hits(), 1);
    // Double encoding stays encoded: what is matched is what is fetched.
    app.next(&origin.url("/pub/%252e%252e/a.png"), 64, 75).await;
    assert_eq!(origin.hits("/a.png"), 0);
}

#[tokio::test]
async fn one_text_for_every_reason() {
    let origin = origin().await;
    let port = origin.address.port();
    let patterns = format!(r#"[{{ hostname = "localhost", port = "{port}" }}, {{ hostname = "10.0.0.1" }}]"#);
    let app = Setup::new().set("sources.allow_local_ip", false).set("sources.remote_patterns", patterns).start().await;
    let mut seen = Vec::new();
    for url in [
        origin.url("/a.png"),
        format!("http://localhost:{port}/a.png"),
        "http://10.0.0.1/a.png".to_owned(),
        "http://localhost:1/a.png".to_owned(),
        "http://unlisted.example/a.png".to_owned(),
    ] {
        // As from another machine: to one on this machine the reason is told.
        let answer = app.get_with(&image(&url, "w=64"), &[("x-forwarded-for", "203.0.113.9")]).await;
        answer.problem(403, code::URL_NOT_ALLOWED);
        let mut problem = answer.json();
        // An instance or request id may differ; nothing else may tell the reasons apart.
        problem.as_object_mut().expect("an object").retain(|key, _| key != "instance");
        seen.push(problem);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(origin.total_hits(), 0);
}

#[tokio::test]
async fn the_environment_proxy_is_not_used() {
    let (origin, proxy) = (origin().await, Origin::start().await);
    let there = format!("http://{}", proxy.address);
    let mut setup = Setup::new();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        setup = setup.env(name, &there);
    }
    let app = setup.start().await;
    assert_eq!(app.get(&next(&origin.url("/a.png"), 64, 75)).await.look().width, 64);
    assert_eq!((origin.total_hits(), proxy.total_hits()), (1, 0));
}
