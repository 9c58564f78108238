//! What others write where we could be strict, patterns that match nothing, what a command brings, what takes a restart.
//! Law: what cannot work is told; what is meant is taken.

use super::*;

fn with(variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let mut environment = Environment::default();
    environment.0.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    load(&Flags { config: Some(fixture("config/empty.toml")), ..Flags::default() }, &environment)
}

#[test]
fn lifetimes_of_other_programs_have_no_unit() {
    let ttl = |text| with(&[("CACHE_TTL", text)]).map(|loaded| loaded.config.redis.ttl);
    assert_eq!(ttl("3600"), Ok(Duration::from_secs(3600)));
    assert_eq!(ttl(" 90 "), Ok(Duration::from_secs(90)));
    assert_eq!(ttl("12h"), Ok(Duration::from_secs(12 * 3600)));
    assert_eq!(ttl(""), Ok(Config::default().redis.ttl), "none is said");
    for wrong in ["0", "soon", "-1", "99999999999999999999"] {
        assert_eq!(ttl(wrong).expect_err(wrong).0[0].key, "redis.ttl");
    }
    assert!(with(&[("PIXGATE_REDIS_TTL", "3600")]).is_err(), "our own keys have units");
}

#[test]
fn variables_of_others_stop_no_start_and_misspelt_keys_do() {
    with(&[
        ("PIXGATE_REDIS_MASTER_SERVICE_HOST", "10.0.0.1"),
        ("PIXGATE_METRICS_SERVICE_PORT_HTTP_METRICS", "80"),
        ("PIXGATE_ADMIN_PORT_8081_TCP_ADDR", "10.0.0.1"),
        ("PIXGATE_REDIS_PORT", "tcp://10.0.0.1:6379"),
        ("PIXGATE_URL", "http://pixgate:8080"),
    ])
    .expect("none of them is ours");
    let told = with(&[("PIXGATE_SERVER_PORT", "8080"), ("PIXGATE_SERVER_LISTEN_", "x"), ("PIXGATE_URLS", "x")]);
    assert_eq!(told.expect_err("three problems").0.len(), 3);
}

#[test]
fn addresses_are_taken_as_other_servers_take_them() {
    let listen =
        |text: &str| load_flags(set(&[&format!("server.listen={text}")])).map(|loaded| loaded.config.http.listen);
    for (text, address) in [
        (":9080", "0.0.0.0:9080"),
        ("*:9080", "0.0.0.0:9080"),
        ("localhost:9080", "127.0.0.1:9080"),
        ("[::1]:9080", "[::1]:9080"),
    ] {
        assert_eq!(listen(text).map(|listen| listen.to_string()), Ok(address.to_owned()));
    }
    for wrong in ["9080", ":", ":http", "localhost", ":+80", "web:80", ":70000"] {
        assert!(listen(wrong).is_err(), "{wrong}");
    }
    assert_eq!(problems(set(&["server.admin_listen=:8081"]))[0].key, "server.admin_listen", "a token is required");
}

#[test]
fn all_hosts_that_are_none_are_told_at_once() {
    let problems = problems(set(&["sources.domains=good.example,*.a.example,https://b.example,c.example:80,d/e"]));
    assert_eq!(problems.len(), 1);
    for wrong in ["*.a.example", "https://b.example", "c.example:80", "d/e"] {
        assert!(problems[0].message.contains(wrong), "{wrong}: {}", problems[0]);
    }
}

#[test]
fn values_are_taken_as_templates_write_them() {
    let loaded = with(&[
        ("PIXGATE_IMAGES_SNAP", "True"),
        ("PIXGATE_SOURCES_DOMAINS", r#"["a.example", "B.example."]"#),
        ("PIXGATE_IMAGES_QUALITIES", "[60, 75]"),
        ("PIXGATE_IMAGES_FORMATS", "image/avif,WebP"),
        ("PIXGATE_SERVER_DRAIN_DELAY", "0"),
        ("PIXGATE_LOG_FORMAT", "JSON"),
    ]);
    let Config { http, sources, log, .. } = loaded.expect("a good configuration").config;
    assert_eq!(sources.domains, ["a.example", "b.example"]);
    assert_eq!((http.sizes.snap, http.sizes.qualities, http.drain_delay), (true, vec![60, 75], Duration::ZERO));
    assert_eq!(http.formats, [ImageFormat::Avif, ImageFormat::Webp]);
    assert_eq!(log.format, crate::telemetry::LogFormat::Json);
    let folder = Folder::new("templates");
    load_flags(file(folder.write("zero.toml", "[server]\ndrain_delay = 0\n"))).expect("nothing needs no unit");
    assert!(with(&[("PIXGATE_SERVER_DRAIN_DELAY", "5")]).is_err(), "anything else does");
    let loaded = with(&[("PIXGATE_SOURCES_DOMAINS", "[2001:db8::1], 10.0.0.1")]).expect("hosts");
    assert_eq!(loaded.config.sources.domains, ["[2001:db8::1]", "10.0.0.1"]);
}

#[test]
fn hosts_that_are_not_public_are_told() {
    let told = |assignments: &[&str]| {
        let warnings = load_flags(set(assignments)).expect("a good configuration").warnings;
        warnings.iter().filter(|warning| warning.contains("not public")).count()
    };
    let hosts = "sources.domains=localhost,10.1.2.3,[::1],images.example.com,8.8.8.8";
    let pattern = r#"sources.remote_patterns=[{"hostname":"127.0.0.1","port":"3000"},{"hostname":"**.example.com"}]"#;
    assert_eq!((told(&[hosts]), told(&[pattern])), (3, 1));
    assert_eq!(told(&[hosts, pattern, "sources.allow_local_ip=true"]), 0);
    assert_eq!(told(&[hosts, "sources.allow_cidrs=10.0.0.0/8"]), 2);
}

fn patterns(key: &str, json: &str) -> Loaded {
    load_flags(set(&[&format!("{key}={json}"), "sources.base_url=http://web"])).expect("a good configuration")
}

#[test]
fn hostnames_and_ports_mean_what_urls_say() {
    for (pattern, url) in [
        (r#"{"hostname":"LOCALHOST"}"#, "http://localhost/a"),
        (r#"{"hostname":"münchen.example"}"#, "https://xn--mnchen-3ya.example/a"),
        (r#"{"hostname":"**.München.Example"}"#, "https://img.xn--mnchen-3ya.example/a"),
        (r#"{"hostname":"A.example."}"#, "http://a.example/a"),
        (r#"{"hostname":"8.8.2056"}"#, "http://8.8.8.8/a"),
        (r#"{"hostname":"a.example","protocol":"https","port":"443"}"#, "https://a.example/a"),
        (r#"{"hostname":"a.example","protocol":"http:","port":80}"#, "http://a.example/a"),
    ] {
        let loaded = patterns("sources.remote_patterns", &format!("[{pattern}]"));
        let mut sources = loaded.config.sources;
        sources.allow_local_ip = true;
        let policy = crate::source::SourcePolicy::new(&sources);
        assert!(policy.admit(url).is_ok(), "{pattern} {url}");
        assert!(loaded.warnings.iter().all(|warning| !warning.contains("matches")), "{:?}", loaded.warnings);
    }
}

#[test]
fn patterns_that_match_nothing_are_told() {
    for (key, pattern, hint) in [
        ("sources.remote_patterns", r#"{"hostname":"a.example","pathname":"photos/**"}"#, "/photos/**"),
        ("sources.remote_patterns", r#"{"hostname":"a.example","pathname":"/my photos/**"}"#, "/my%20photos/**"),
        (
            "sources.remote_patterns",
            r#"{"hostname":"a.example","pathname":"/фото/**"}"#,
            "/%D1%84%D0%BE%D1%82%D0%BE/**",
        ),
        ("sources.remote_patterns", r#"{"hostname":"a.example","search":"?q=a b"}"#, "?q=a%20b"),
        ("sources.remote_patterns", r#"{"hostname":"a.example","port":"443"}"#, "protocol = \"https\""),
        ("sources.remote_patterns", r#"{"hostname":"a.example","pathname":"/a/../b/**"}"#, "dots"),
        ("sources.local_patterns", r#"{"pathname":"assets/**"}"#, "/assets/**"),
    ] {
        let warnings = patterns(key, &format!("[{pattern}]")).warnings;
        let told = warnings.iter().filter(|warning| warning.starts_with(key)).collect::<Vec<_>>();
        assert!(told.len() == 1 && told[0].contains(hint), "{pattern}: {warnings:?}");
    }
    for fine in [
        r#"{"hostname":"a.example","pathname":"**"}"#,
        r#"{"hostname":"a.example","pathname":"{/a,/b}/**"}"#,
        r#"{"hostname":"a.example","pathname":"/a/*.jpg","port":"8443","search":"?v=1"}"#,
    ] {
        let warnings = patterns("sources.remote_patterns", &format!("[{fine}]")).warnings;
        assert!(warnings.is_empty(), "{fine}: {warnings:?}");
    }
}

#[test]
fn what_a_command_brings_is_below_what_was_written_and_above_the_manifest() {
    let folder = Folder::new("mode");
    let manifest = folder.write(
        "m.json",
        r#"{"version":1,"images":{"minimumCacheTTL":14400,"dangerouslyAllowLocalIP":false,"imageSizes":[48]}}"#,
    );
    let dev = Flags {
        mode: Mode::Development,
        next_manifest: Some(manifest.clone()),
        scratch: Some("/tmp/scratch".into()),
        ..set(&["cache.stale_while_revalidate=1m"])
    };
    let loaded = load_flags(dev).expect("a good configuration");
    let Config { http, sources, cache, metadata, .. } = &loaded.config;
    assert!(http.development && cache.always_revalidate && sources.allow_local_ip);
    assert_eq!((cache.minimum_ttl, cache.stale_while_revalidate), (Duration::ZERO, Duration::from_secs(60)));
    assert_eq!(sources.base_url.as_ref().map(url::Url::as_str), Some("http://localhost:3000/"));
    assert_eq!(http.sizes.image_sizes, [48]);
    assert_eq!(metadata.address.as_ref().map(ToString::to_string).as_deref(), Some("sqlite:/tmp/scratch/metadata.db"));
    assert_eq!(origin(&loaded, "sources.base_url").to_string(), "pixgate dev");
    assert!(loaded.watched.contains(&manifest), "{:?}", loaded.watched);
    let served = load_flags(Flags { next_manifest: Some(manifest), ..Flags::default() }).expect("good");
    assert!(!served.config.http.development && served.watched.is_empty());
    assert_eq!(served.config.cache.minimum_ttl, Duration::from_secs(14_400));
}

#[test]
fn changes_that_take_a_restart_are_known_by_key() {
    let before = load_flags(set(&["redis.url=redis://:one@a", "images.qualities=75"])).expect("good");
    let after = |assignments: &[&str]| load_flags(set(assignments)).expect("good").needs_restart(&before);
    assert!(after(&["redis.url=redis://:one@a", "images.qualities=50", "server.drain_delay=1s"]).is_empty());
    assert_eq!(
        after(&["redis.url=redis://:two@a", "log.format=json"]),
        ["log.format", "redis.url"],
        "in the table's order"
    );
}
