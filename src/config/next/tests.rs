//! Manifests of real builds (`fixtures/next`): what comes out, and that it admits what Next.js documents.
//! Law: a glob that was made of a regular expression is tried against that expression.

use super::*;
use crate::config::{Environment, Flags, Loaded, load};
use crate::source::SourcePolicy;
use std::path::{Path, PathBuf};

const M14: &str = "images-manifest.14.json";
const M15: &str = "images-manifest.15.json";
const M16: &str = "images-manifest.16.json";
const DEFAULTS: &str = "images-manifest.16-defaults.json";
const GLOBS: &str = "images-manifest.16-globs.json";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn imported(name: &str) -> Import {
    import(&std::fs::read(fixture("next").join(name)).expect("a fixture")).expect("a manifest")
}

fn loaded(name: &str, set: &[&str]) -> Loaded {
    let flags = Flags {
        config: Some(fixture("config/empty.toml")),
        next_manifest: Some(fixture("next").join(name)),
        set: set.iter().map(|text| (*text).to_owned()).collect(),
        ..Flags::default()
    };
    load(&flags, &Environment::default()).expect("a good configuration")
}

fn value<'a>(import: &'a Import, key: &str) -> Option<&'a Value> {
    import.values.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

#[test]
fn patterns_of_a_real_build_become_the_globs_that_were_written() {
    for name in [M14, M15, M16] {
        let import = imported(name);
        let patterns = value(&import, "sources.remote_patterns").and_then(Value::as_array).expect("patterns");
        let shown: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let expected = [
            r#"{ hostname = "images.example.com", protocol = "https" }"#,
            r#"{ hostname = "**.example.org", pathname = "/photos/**", protocol = "https" }"#,
            r#"{ hostname = "*.cdn.example.net", pathname = "/a/*", port = "" }"#,
            r#"{ hostname = "avatars.*.example.com", pathname = "/u/**/*.png", search = "" }"#,
            r#"{ hostname = "localhost", pathname = "/a**", port = "9000", protocol = "http" }"#,
        ];
        // `/a**` and `/a*` are the same regular expression.
        let expected = expected.map(|text| text.replace("/a**\"", "/a*\""));
        assert_eq!(&shown[..5], &expected, "{name}");
        assert!(shown[5].contains(r#"hostname = "{one,two}.example.io""#), "{}", shown[5]);
        let local = value(&import, "sources.local_patterns").map(ToString::to_string).expect("patterns");
        assert!(local.contains(r#"{ pathname = "/assets/images/**", search = "" }"#), "{local}");
        assert!(local.contains(r#"{ pathname = "/public/*" }"#), "{local}");
    }
}

#[test]
fn what_is_not_recognised_stays_a_regular_expression() {
    let import = imported(GLOBS);
    let patterns = value(&import, "sources.remote_patterns").and_then(Value::as_array).expect("patterns");
    let kept = |at: usize, name: &str| patterns[at].get(name).and_then(Value::as_str).expect("a field").to_owned();
    assert_eq!(kept(0, "hostname"), "shop.example.com");
    assert_eq!((kept(1, "hostname"), kept(2, "hostname")), ("**".into(), "*".into()));
    assert_eq!(kept(3, "hostname_regex"), r"^(?!^(?:evil\.example\.com)$).*$");
    assert_eq!(kept(4, "pathname_regex"), r"^(?:\/x\/(?:a|b)+\/c[^/]d)$");
    assert_eq!(kept(5, "hostname_regex"), r"^(?:(?=.)(?:a|b)+\.example\.com)$");
    assert_eq!(kept(7, "hostname_regex"), "^(?:10.0.0.[1-3])$");
    assert_eq!(kept(8, "pathname"), "/{a,b}/d.e_f-g~h/**");
    // Three of them admit any host; each is named.
    assert_eq!(import.notes.iter().filter(|note| note.contains("allow_any_host")).count(), 3, "{:?}", import.notes);
}

/// Every regular expression of the fixtures means the same as the glob it is turned into.
#[test]
fn a_translation_means_the_same() {
    let hosts = [
        "example.com",
        "images.example.com",
        "a.example.org",
        "a.b.example.org",
        "example.org",
        ".example.org",
        "x.cdn.example.net",
        "x.y.cdn.example.net",
        "cdn.example.net",
        "avatars.sfo1.example.com",
        "avatars.example.com",
        "avatars.a.b.example.com",
        "more.avatars.iad1.example.com",
        "localhost",
        "one.example.io",
        "two.example.io",
        "three.example.io",
        "img-1.example.com",
        "img-.example.com",
        "img.example.com",
        "192.0.2.7",
        "192x0x2x7",
        "shop.example.com",
        "shopXexample.com",
        "",
    ];
    let paths = [
        "/",
        "//",
        "",
        "/a",
        "/ab",
        "/a/",
        "/a/b",
        "/a/b/",
        "/a/.b",
        "/a/..",
        "/a/../b",
        "/a/b/c",
        "/a/./b",
        "/abc/d",
        "/u/x.png",
        "/u/a/b/x.png",
        "/u//x.png",
        "/u/.x.png",
        "/u/x.png/",
        "/u/x.jpg",
        "/ux.png",
        "/u/.png",
        "/photos",
        "/photos/",
        "/photos/a/b.jpg",
        "/photosx",
        "/photos/../x",
        "/photos/.hidden/x",
        "/assets/images",
        "/assets/images/a/b",
        "/public/a",
        "/public/a/b",
        "/public/",
        "/_next/static/media/x.png",
        "/a/%2e%2e/b",
        "/img/x",
        "/img",
        "/a/d.e_f-g~h/z",
        "/b/d.e_f-g~h",
        "/c/d.e_f-g~h/z",
        "/x.png",
        "/a/x.jpg",
        "/a/b/x.png",
        "/account123/v1_a/b",
        "/account123/v1_/b/c",
        "/account123/v1_a",
        "/account123/v1_a/",
        "/A/b",
    ];
    let mut translated = 0;
    for name in [M14, M15, M16, DEFAULTS, GLOBS] {
        let bytes = std::fs::read(fixture("next").join(name)).expect("a fixture");
        let manifest: Manifest = serde_json::from_slice(&bytes).expect("a manifest");
        let local = manifest.images.local_patterns.unwrap_or_default();
        for pattern in local.iter().chain(&manifest.images.remote_patterns) {
            let both = [(&pattern.hostname, Subject::Host), (&pattern.pathname, Subject::Path)];
            for (regex, subject) in both.into_iter().filter_map(|(regex, subject)| Some((regex.as_ref()?, subject))) {
                let Some(text) = glob_of(regex, subject) else { continue };
                translated += 1;
                let (glob, subjects) = match subject {
                    Subject::Host => (Glob::hostname(&text), &hosts[..]),
                    Subject::Path => (Glob::pathname(&text), &paths[..]),
                };
                let (glob, regex) = (glob.expect("a glob"), Glob::regex(regex).expect("a regular expression"));
                for subject in subjects {
                    assert_eq!(
                        glob.matches(subject),
                        regex.matches(subject),
                        "{text} and {} on {subject:?}",
                        regex.as_str()
                    );
                }
            }
        }
    }
    assert!(translated > 40, "only {translated} patterns were recognised");
}

/// nextjs-contract.md 1.5 through the whole way: manifest, configuration, policy.
#[test]
fn a_real_manifest_admits_what_its_app_admits() {
    let config = loaded(M16, &["sources.base_url=http://localhost:3000"]).config;
    let policy = SourcePolicy::new(&config.sources);
    let cases: &[(&str, bool)] = &[
        ("https://images.example.com/any/path.jpg?v=1", true),
        ("http://images.example.com/a.jpg", false),
        ("https://legacy.example.com:8443/a.jpg", true),
        ("https://x.legacy.example.com/a.jpg", false),
        ("https://a.example.org/photos/x.jpg", true),
        ("https://a.b.example.org/photos", true),
        ("https://example.org/photos/x.jpg", false),
        ("https://a.example.org/photosx", false),
        ("https://a.example.org/photos/%2e%2e/x", false),
        ("https://x.cdn.example.net/a/b", true),
        ("http://x.y.cdn.example.net/a/.b", true),
        ("https://x.cdn.example.net:8443/a/b", false),
        ("https://x.cdn.example.net/a/b/c", false),
        ("https://avatars.sfo1.example.com/u/1/2.png", true),
        ("https://avatars.sfo1.example.com/u/2.png", true),
        ("https://avatars.sfo1.example.com/u/2.png?s=1", false),
        ("https://avatars.sfo1.example.com/u/2.jpg", false),
        ("https://avatars.example.com/u/2.png", false),
        ("https://more.avatars.iad1.example.com/u/2.png", false),
        ("http://localhost:9000/abc", true),
        ("http://localhost:9000/abc/d", false),
        ("http://localhost/abc", false),
        ("https://one.example.io/account123/v1_x/a/b", true),
        ("https://three.example.io/account123/v1_x/a", false),
        ("https://evil.test/a.jpg", false),
        ("/assets/images/a.png", true),
        ("/assets/images/a.png?v=1", false),
        ("/public/a.png?v=1", true),
        ("/public/a/b.png", false),
        ("/_next/static/media/a.png", true),
        ("/elsewhere.png", false),
    ];
    for (url, admitted) in cases {
        assert_eq!(policy.admit(url).is_ok(), *admitted, "{url}");
    }
}

#[test]
fn lists_and_limits_come_over() {
    let loaded = loaded(GLOBS, &["sources.allow_any_host=true"]);
    let config = &loaded.config;
    assert_eq!(config.http.next_path, "/shop/_next/image");
    assert_eq!(config.http.sizes.image_sizes, [32, 48, 64, 96, 128, 256, 384]);
    assert_eq!(config.http.sizes.qualities, [40, 75]);
    assert_eq!(config.http.formats, [crate::format::ImageFormat::Avif]);
    assert!(!config.http.content_disposition_attachment && config.imaging.limits.allow_svg);
    assert!(config.sources.allow_local_ip);
    assert_eq!((config.sources.max_redirects, config.sources.max_bytes), (0, 10_000_000));
    assert_eq!(config.cache.minimum_ttl.as_secs(), 14_400);
    assert_eq!(config.sources.local_patterns.as_ref().map(Vec::len), Some(2));
    assert!(loaded.warnings.iter().any(|warning| warning.contains("sources.base_url")), "{:?}", loaded.warnings);
}

#[test]
fn old_versions_leave_out_what_they_do_not_know() {
    for name in [M14, M15] {
        let import = imported(name);
        assert_eq!(value(&import, "sources.allow_local_ip"), None);
        assert_eq!(value(&import, "sources.max_redirects"), None);
        assert!(import.notes.iter().any(|note| note.contains("every quality")), "{:?}", import.notes);
        let qualities = loaded(name, &[]).config.http.sizes.qualities;
        assert!(qualities.len() == 20 && qualities.contains(&75) && qualities.contains(&100), "{qualities:?}");
    }
    assert!(!imported(M16).notes.iter().any(|note| note.contains("every quality")));
}

#[test]
fn the_printed_import_is_the_import() {
    let folder = std::env::temp_dir();
    for name in [M14, M15, M16, DEFAULTS, GLOBS] {
        let path = folder.join(format!("pixgate-next-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, imported(name).to_toml()).expect("a file to write");
        let any = "sources.allow_any_host=true".to_owned();
        let flags = Flags { config: Some(path.clone()), set: vec![any.clone()], ..Flags::default() };
        let printed = load(&flags, &Environment::default());
        std::fs::remove_file(&path).expect("the file to be there");
        let direct = loaded(name, &[&any]);
        // Compiled patterns are compared by their text.
        let text = |loaded: &Loaded| {
            let rows = loaded.describe().replace(&path.display().to_string(), "");
            rows.lines()
                .map(|line| line.split(" # ").next().unwrap_or_default().trim_end().to_owned())
                .filter(|line| !line.starts_with("next_manifest"))
                .collect::<Vec<_>>()
        };
        assert_eq!(text(&printed.expect("a good configuration")), text(&direct), "{name}");
    }
}

#[test]
fn loaders_and_other_files_are_told_apart() {
    let with = |images: &str| import(format!(r#"{{"version":1,"images":{{{images}}}}}"#).as_bytes());
    let notes = |images: &str| with(images).expect("a manifest").notes.join("\n");
    assert!(notes(r#""loader":"custom""#).contains("images.loader"));
    assert!(notes(r#""unoptimized":true"#).contains("unoptimized"));
    let mount = |path: &str| {
        let import = with(&format!(r#""path":"{path}""#)).expect("a manifest");
        value(&import, "server.next_path").and_then(Value::as_str).map(str::to_owned)
    };
    assert_eq!(mount("https://img.example/_next/image").as_deref(), Some("/_next/image"));
    assert_eq!(mount("https://img.example"), None);
    for bytes in
        [&b"{}"[..], b"[]", b"", br#"{"version":2,"images":{}}"#, br#"{"version":1,"images":{"qualities":"all"}}"#]
    {
        assert!(import(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
}
