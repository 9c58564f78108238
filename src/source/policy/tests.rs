//! Which URLs are admitted: order of refusals, patterns, tricks with paths and hosts.

use super::*;

fn settings() -> Settings {
    let hostname = |pattern| Glob::hostname(pattern).expect("a pattern");
    let pathname = |pattern| Glob::pathname(pattern).ok();
    let any = |hostname| RemotePattern { protocol: None, hostname, port: None, pathname: None, search: None };
    Settings {
        domains: vec!["images.example".into()],
        remote_patterns: vec![
            any(hostname("**.wide.example")),
            RemotePattern {
                protocol: Some("https:".into()),
                port: Some(String::new()),
                pathname: pathname("/ok/**"),
                search: Some(String::new()),
                ..any(hostname("narrow.example"))
            },
            RemotePattern { port: Some("8080".into()), search: Some("?v=1".into()), ..any(hostname("port.example")) },
            any(hostname("+([0-9]).+([0-9]).+([0-9]).+([0-9])")),
            any(hostname("\\[*\\]")),
        ],
        base_url: "http://web:3000".parse().ok(),
        ..Settings::default()
    }
}

fn admit(text: &str) -> Result<SourceUrl, Refusal> {
    SourcePolicy::new(&settings()).admit(text)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let refusal = admit(text).expect_err(text);
    // The inner texts are for people; the variant is the contract.
    let variant = format!("{refusal:?}");
    assert_eq!(variant.split('(').next(), Some(expected), "{text}: {refusal}");
}

#[test]
fn refusals_come_in_the_order_of_nextjs() {
    let long = |front: &str| format!("{front}{}", "a".repeat(MAX_URL_UNITS + 1 - front.len()));
    // Each text has every later fault as well.
    refused(&long("//_next/image/"), "TooLong");
    refused("//web/_next/image", "ProtocolRelative");
    refused("/\\evil.example/_next/image", "ProtocolRelative");
    refused("/_next/image", "Recursive");
    refused("not a url", "Invalid");
    refused("ftp://elsewhere.example/", "Invalid");
    refused("https://elsewhere.example/", "NotAllowed");
    // The limit counts UTF-16 units: an astral character is two of them and four bytes.
    assert!(admit(&long("https://images.example/")[..MAX_URL_UNITS]).is_ok());
    let astral = |count| format!("https://images.example/{}", "\u{1F600}".repeat(count));
    assert!(admit(&astral((MAX_URL_UNITS - 23) / 2)).is_ok());
    refused(&astral((MAX_URL_UNITS - 23) / 2 + 1), "TooLong");
}

#[test]
fn a_path_through_the_endpoint_is_recursive_in_every_spelling() {
    for text in [
        "/_next/image?url=%2Fa.jpg",
        "/_next/image/",
        "/assets/_next/image",
        "/assets/_next/image/x",
        "/%5fnext/image",
        "/_next%2Fimage",
        "/_next%252Fimage",
        "/_next/x/../image",
        "/_next%5cimage",
    ] {
        refused(text, "Recursive");
    }
    for text in ["/_next/images/a.jpg", "/_next/imagery", "/a.jpg?u=/_next/image", "/_next/static/media/a.png"] {
        assert!(admit(text).is_ok(), "{text}");
    }
    let renamed = SourcePolicy::new(&Settings { next_path: "/pics".into(), ..settings() });
    assert_eq!(renamed.admit("/pics?url=x").expect_err("own"), Refusal::Recursive);
    assert_eq!(renamed.admit("/_next/image?url=x").expect_err("the application's"), Refusal::Recursive);
}

#[test]
fn an_empty_allow_list_admits_nothing() {
    let policy = SourcePolicy::new(&Settings::default());
    for text in ["https://images.example/a.jpg", "http://localhost/", "http://8.8.8.8/", "/a.jpg"] {
        assert!(matches!(policy.admit(text), Err(Refusal::NotAllowed(_))), "{text}");
    }
}

#[test]
fn a_pattern_for_any_host_counts_only_when_it_is_allowed() {
    let hostname = Glob::hostname("**").expect("a pattern");
    let pattern = RemotePattern { protocol: None, hostname, port: None, pathname: None, search: None };
    let mut settings = Settings { remote_patterns: vec![pattern], ..Settings::default() };
    assert!(SourcePolicy::new(&settings).admit("https://a.example/").is_err());
    settings.allow_any_host = true;
    assert!(SourcePolicy::new(&settings).admit("https://a.example/").is_ok());
    assert!(SourcePolicy::new(&settings).admit("https://127.0.0.1/").is_err());
}

#[test]
fn every_part_of_a_remote_pattern_counts() {
    for text in [
        "https://images.example/",
        "http://images.example:81/a?b",
        "https://IMAGES.example/a.jpg",
        "https://a.b.wide.example/x",
        "https://narrow.example/ok/a.jpg",
        "https://narrow.example:443/ok/a.jpg",
        "https://narrow.example/ok/a.jpg?",
        "https://narrow.example/ok/a.jpg#part",
        "http://port.example:8080/?v=1",
    ] {
        assert!(admit(text).is_ok(), "{text}");
    }
    for text in [
        "https://sub.images.example/",
        "https://images.example.evil.test/",
        "https://wide.example/x",
        "http://narrow.example/ok/a.jpg",
        "https://narrow.example:444/ok/a.jpg",
        "https://narrow.example/ok/a.jpg?v=1",
        "https://narrow.example/okay/a.jpg",
        "https://narrow.example/ok/../secret.jpg",
        "https://narrow.example/ok/%2e%2e/secret.jpg",
        "http://port.example/?v=1",
        "http://port.example:8080/?v=2",
        // A Cyrillic letter that looks like a Latin one.
        "https://im\u{0430}ges.example/",
        "https://images.example./",
    ] {
        refused(text, "NotAllowed");
    }
}

#[test]
fn encoded_ways_out_of_a_path_pattern_are_refused() {
    for text in [
        "https://narrow.example/ok/%252e%252e/secret.jpg",
        "https://narrow.example/ok/%25252e./secret.jpg",
        "https://narrow.example/ok/..%2fsecret.jpg",
        "https://narrow.example/ok/%2e%2e%2fsecret.jpg",
        "https://narrow.example/ok/..%5csecret.jpg",
        "https://narrow.example/ok/..%255c..%255csecret.jpg",
        "https://narrow.example/ok/..;/secret.jpg",
        "https://narrow.example/ok/a%2f..%2f..%2fsecret.jpg",
        "/ok/%252e%252e/secret.jpg",
        "/ok/..%2fsecret.jpg",
    ] {
        refused(text, "NotAllowed");
    }
    for text in [
        "https://images.example/a\\..\\b.jpg",
        "https:\\\\images.example/a.jpg",
        "https://images.example\\@evil.test/a.jpg",
        "https://images.ex\tample/a.jpg",
        "https://images.example/a\n.jpg",
        "/a\\b.jpg",
        "/\t/evil.test/a.jpg",
        "/%zz/a.jpg",
        "/a%",
        "/a%2",
        "https://images.example/%25252525252e%25252525252e/a.jpg",
    ] {
        refused(text, "Invalid");
    }
    // Honest ones: names with an encoded slash, percent sign, dots, or bytes that are no UTF-8.
    for text in [
        "https://images.example/o/users%2F7%2Fa.jpg?alt=media",
        "https://images.example/100%25.jpg",
        // No escape, and what Next.js and browsers ask for.
        "https://images.example/100%.jpg",
        "https://images.example/%zz/a.jpg",
        "https://images.example/a..b/...jpg",
        "https://images.example/%e9.jpg",
        "https://images.example/a.jpg?path=..%2f..&x=%zz\\",
    ] {
        assert!(admit(text).is_ok(), "{text}");
    }
}

#[test]
fn userinfo_and_other_schemes_are_invalid() {
    for text in [
        "https://user@images.example/",
        "https://user:password@images.example/",
        "https://images.example@evil.test/",
        "https://:password@images.example/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "gopher://images.example/",
        "images.example/a.jpg",
        "https://",
        "https://[::1/",
        "",
    ] {
        refused(text, "Invalid");
    }
}

#[test]
fn literal_addresses_pass_the_guard_in_every_form() {
    for text in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
        "http://0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://[::]/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
    ] {
        refused(text, "NotAllowed");
    }
    // The same patterns admit public addresses, so it was the guard that refused.
    for text in ["http://8.8.8.8/", "http://134744072/", "http://[2606:4700::1111]/"] {
        assert!(admit(text).is_ok(), "{text}");
    }
    let private = Settings { allow_cidrs: vec!["10.0.0.0/8".parse().expect("a network")], ..settings() };
    assert!(SourcePolicy::new(&private).admit("http://10.0.0.1/").is_ok());
    assert!(SourcePolicy::new(&private).admit("http://192.168.0.1/").is_err());
}

#[test]
fn a_path_is_resolved_on_the_base_alone() {
    let url = admit("/a b/c.jpg?x=1#top").expect("a local source");
    assert_eq!(url.expose(), "http://web:3000/a%20b/c.jpg?x=1");
    assert!(url.is_local());
    assert_eq!(url.file_name(), "c.jpg");
    // Named absolutely, the operator's origin is a host like any other.
    refused("http://web:3000/a.jpg", "NotAllowed");
    let credentials = Settings { base_url: "http://user:word@web:3000/app/".parse().ok(), ..settings() };
    let url = SourcePolicy::new(&credentials).admit("/a.jpg").expect("a local source");
    assert_eq!(url.expose(), "http://web:3000/a.jpg");
}

#[test]
fn local_patterns_decide_when_there_are_any() {
    let local = |pathname: &str, search: Option<&str>| LocalPattern {
        pathname: Glob::pathname(pathname).ok(),
        search: search.map(str::to_owned),
    };
    let policy = |patterns| SourcePolicy::new(&Settings { local_patterns: Some(patterns), ..settings() });
    let strict = policy(vec![local("/assets/**", Some("")), local("/v/*", Some("?w=1"))]);
    for text in ["/assets/a.jpg", "/assets", "/assets/x/y.png?", "/v/a?w=1"] {
        assert!(strict.admit(text).is_ok(), "{text}");
    }
    for text in ["/other/a.jpg", "/assets/a.jpg?v=1", "/assets/../other/a.jpg", "/v/a", "/v/a?w=2", "/"] {
        assert!(matches!(strict.admit(text), Err(Refusal::NotAllowed(_))), "{text}");
    }
    assert!(policy(vec![]).admit("/assets/a.jpg").is_err());
    assert!(policy(vec![LocalPattern { pathname: None, search: None }]).admit("/any/thing?x").is_ok());
}

#[test]
fn redirects_pass_the_whole_policy() {
    let policy = SourcePolicy::new(&settings());
    let remote = policy.admit("https://images.example/a/b.jpg").expect("admitted");
    let local = policy.admit("/a/b.jpg").expect("admitted");
    let to = |from: &SourceUrl, location: &str| policy.admit_redirect(from, location);

    assert_eq!(to(&remote, "c.jpg?x#y").expect("relative").expose(), "https://images.example/a/c.jpg?x");
    assert_eq!(to(&remote, "//a.wide.example/x").expect("other host").expose(), "https://a.wide.example/x");
    for location in
        ["https://evil.test/", "//evil.test/", "http://169.254.169.254/", "http://web:3000/a.jpg", "http://[::1]/"]
    {
        assert!(matches!(to(&remote, location), Err(Refusal::NotAllowed(_))), "{location}");
    }
    for location in
        ["file:///etc/passwd", "https://u:p@images.example/", "https://images.example\\@evil.test/", "http://["]
    {
        assert!(matches!(to(&remote, location), Err(Refusal::Invalid(_))), "{location}");
    }
    assert!(to(&remote, &format!("/a.jpg?token={}", "x".repeat(10_000))).is_ok(), "storages sign with long tokens");
    assert_eq!(to(&remote, &"x".repeat(17_000)).expect_err("long"), Refusal::TooLong);

    let inside = to(&local, "/c.jpg").expect("the same trusted origin");
    assert!(inside.is_local());
    assert_eq!(to(&local, "/_next/image?url=/a.jpg").expect_err("recursive"), Refusal::Recursive);
    assert!(!to(&local, "https://images.example/a.jpg").expect("a listed host").is_local());
    for location in ["http://web:3001/", "https://web:3000/", "http://127.0.0.1/"] {
        assert!(to(&local, location).is_err(), "{location}");
    }
}

#[test]
fn equal_urls_have_equal_keys() {
    let key = |text: &str| admit(text).expect(text).key();
    assert_eq!(key("https://images.example/a.jpg"), key("HTTPS://Images.Example:443/x/../a.jpg#top"));
    assert_ne!(key("https://images.example/a.jpg"), key("https://images.example/a.jpg?v=1"));
    assert_ne!(key("https://images.example/a.jpg"), key("http://images.example/a.jpg"));
    assert_eq!(admit("https://images.example/d/").expect("a folder").file_name(), "");
}

#[test]
fn what_no_source_can_have_is_no_name_to_purge_by() {
    let policy = SourcePolicy::new(&settings());
    for host in ["*", "*.example", "a..example", ".example", "127.0", "2130706433", "0x7f.1", "a.example:81", "a b"] {
        assert!(SourcePolicy::normalised_host(host).is_err(), "{host}");
    }
    for (host, normalised) in [
        ("A.Example", "a.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("\u{fc}.example", "xn--tda.example"),
    ] {
        assert_eq!(SourcePolicy::normalised_host(host).as_deref(), Ok(normalised));
    }
    for prefix in ["http://127.0", "http://127", "http://2130706433/", "http://*.example/", "https://**"] {
        assert!(policy.normalised(prefix).is_err(), "{prefix}");
    }
    for prefix in ["http://127.0.0.1:80/a", "https://A.example/shop/", "http://[::1]/", "/shop/"] {
        assert!(policy.normalised(prefix).is_ok(), "{prefix}");
    }
}
