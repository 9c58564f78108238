//! Layers, origins, problems and the printed form. Law: files are written to a folder of the test's own, and nothing reads
//! the environment of the process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::format::ImageFormat;

mod bounds;
mod lenient;
mod metadata;
mod redis;

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pixgate-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder to write to");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file to write");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn file(path: PathBuf) -> Flags {
    Flags { config: Some(path), ..Flags::default() }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn set(assignments: &[&str]) -> Flags {
    Flags { set: assignments.iter().map(|text| (*text).to_owned()).collect(), ..Flags::default() }
}

/// No file of the folder the tests run in is read.
fn load_flags(flags: Flags) -> Result<Loaded, Problems> {
    load(
        &Flags { config: Some(flags.config.clone().unwrap_or_else(|| fixture("config/empty.toml"))), ..flags },
        &Environment::default(),
    )
}

fn problems(flags: Flags) -> Vec<Problem> {
    load_flags(flags).expect_err("a configuration with problems").0
}

fn origin<'a>(loaded: &'a Loaded, key: &str) -> &'a Origin {
    &loaded.effective.iter().find(|row| row.key == key).expect("a known key").origin
}

#[test]
fn without_anything_the_defaults_of_the_rooms_hold() {
    let loaded = load_flags(Flags::default()).expect("defaults are good");
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::default()));
    assert!(loaded.effective.iter().all(|row| row.origin == Origin::Default));
    assert!(loaded.warnings.iter().any(|warning| warning.contains("nothing may be fetched")), "{:?}", loaded.warnings);
}

#[test]
fn each_layer_wins_over_those_below_it() {
    let folder = Folder::new("layers");
    let manifest = fixture("next/images-manifest.16.json");
    let toml = folder.write("p.toml", &format!("[images]\nqualities = [60]\n\n[limits]\nqueue = 5\n[sources]\nnext_manifest = {manifest:?}\ndomains = [\"toml.example\"]\n"));
    let environment = Environment::from([
        ("PIXGATE_CONFIG", toml.to_str().expect("a Unicode path")),
        ("PIXGATE_LIMITS_QUEUE", "6"),
        ("PIXGATE_SOURCES_DOMAINS", "a.example, B.example"),
        ("PIXGATE_IMAGES_SNAP", "true"),
        ("PATH", "/bin"),
    ]);
    let flags = Flags { domain: vec!["flag.example".into()], ..set(&["limits.queue=7", "limits.queue=8"]) };
    let loaded = load(&flags, &environment).expect("a good configuration");
    let Config { http, sources, schedule, .. } = &loaded.config;
    assert_eq!((schedule.queue, &sources.domains), (8, &vec!["flag.example".to_owned()]));
    assert_eq!(origin(&loaded, "limits.queue"), &Origin::Flag("--set".into()));
    assert!(http.sizes.snap);
    assert_eq!(origin(&loaded, "images.snap").to_string(), "environment PIXGATE_IMAGES_SNAP");
    assert_eq!(http.sizes.qualities, [60]);
    assert_eq!(origin(&loaded, "images.qualities"), &Origin::File(toml.clone(), 2));
    assert_eq!(http.sizes.device_sizes, [640, 828, 1200, 1920]);
    assert_eq!(origin(&loaded, "images.device_sizes"), &Origin::Manifest(manifest));
    assert_eq!(sources.max_redirects, 3);

    let without = load(&Flags::default(), &environment).expect("a good configuration");
    assert_eq!(without.config.sources.domains, ["a.example", "b.example"]);
    assert_eq!(without.config.schedule.queue, 6);
}

#[test]
fn every_key_is_read_from_the_environment_and_from_flags() {
    let toml = fs::read_to_string(fixture("config/every-key.toml")).expect("the fixture");
    let table: toml::Table = toml.parse().expect("TOML");
    let from_file = load_flags(file(fixture("config/every-key.toml"))).expect("a good configuration");
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().any(Value::is_table) => serde_json::to_string(items).expect("JSON"),
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    };
    let mut environment = Environment::default();
    let mut flags = Flags { config: Some(fixture("config/empty.toml")), ..Flags::default() };
    let mut count = 0;
    for (section, keys) in &table {
        for (name, value) in keys.as_table().expect("a section") {
            let key = format!("{section}.{name}");
            environment.0.insert(raw::variable_of(&key), text(value));
            flags.set.push(format!("{key}={}", text(value)));
            count += 1;
        }
    }
    // The files of the token, the certificates and the manifest are read by tests of their own.
    assert_eq!(count + 3, KEYS.len(), "config/every-key.toml has every key");
    let config = |loaded: Result<Loaded, Problems>| format!("{:?}", loaded.expect("a good configuration").config);
    let empty = Flags { config: flags.config.clone(), ..Flags::default() };
    assert_eq!(config(load(&empty, &environment)), config(Ok(from_file.clone())));
    assert_eq!(config(load(&flags, &Environment::default())), config(Ok(from_file)));
}

#[test]
fn what_is_printed_can_be_read_again() {
    let folder = Folder::new("printed");
    let loaded = load_flags(file(fixture("config/every-key.toml"))).expect("a good configuration");
    let text = loaded.describe();
    assert!(!text.contains("0123456789"), "no secret in:\n{text}");
    assert!(text.contains("\"***\""), "secrets are named:\n{text}");
    assert!(text.contains("every-key.toml:2"), "with lines:\n{text}");
    // The masks are too short to be secrets; all else stays.
    let again = folder.write("again.toml", &text.replace("***\"", "another-secret-of-16\""));
    let again = load_flags(file(again)).expect("what was printed is good").describe();
    let values = |text: &str| {
        text.lines().map(|line| line.split(" # ").next().map(str::trim_end).map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(values(&text), values(&again));
}

#[test]
fn the_example_file_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pixgate.example.toml");
    let loaded = load_flags(file(path)).expect("the example is good");
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::default()));
    let given = loaded.effective.iter().filter(|row| row.origin != Origin::Default).count();
    // A key without a default cannot be set to it.
    assert_eq!(given + 2, KEYS.len(), "the example has every key but sources.local_patterns and images.crops");
}

#[test]
fn all_problems_are_reported_at_once_with_their_origins() {
    let path = fixture("config/many-problems.toml");
    let environment = Environment::from([
        ("PIXGATE_IMAGES_SANP", "true"),
        ("PIXGATE_LIMITS_QUEUE", "many"),
        ("PIXGATE_REDIS_URL", "redis://user:hunter2@x:y"),
        ("PIXGATE_METADATA_MAX_CONNECTIONS", "0"),
        ("PIXGATE_SERVICE_PORT_HTTP", "80"),
        ("PIXGATE_PORT", "tcp://10.0.0.1:80"),
        ("PIXGATE_PORT_80_TCP_ADDR", "10.0.0.1"),
    ]);
    let problems = load(&file(path), &environment).expect_err("problems").0;
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected: &[(&str, &str)] = &[
        ("PIXGATE_IMAGES_SANP", "did you mean PIXGATE_IMAGES_SNAP?"),
        ("redis.url = ***", "redis-cluster://host:port"),
        ("metadata.max_connections", "from 1 to 1000 (environment PIXGATE_METADATA_MAX_CONNECTIONS)"),
        ("limits.queue", "whole number (environment PIXGATE_LIMITS_QUEUE)"),
        ("images.qualitys", "did you mean images.qualities?"),
        ("metadata.url = ***", "sqlite:FILE"),
        ("avif.progression", "is not a known key"),
        ("imagse", "is not a known key"),
        ("images.qualities", "[0, 75]"),
        ("images.device_sizes", "1 to 10000"),
        ("images.formats", "some of avif, webp, jpeg, png"),
        ("images.minimum_cache_ttl", "\"30d\""),
        ("images.content_disposition", "one of inline, attachment"),
        ("server.listen", "127.0.0.1:8080"),
        ("server.next_path", "begins with /"),
        ("sources.domains", "leave out scheme"),
        ("sources.max_bytes", "\"50MB\""),
        ("sources.allow_cidrs", "10.0.0.0/99"),
        ("sources.base_url", "origin"),
        ("sources.remote_patterns", "hostname (or hostname_regex) is missing"),
        ("avif.engine", "one of auto, libaom, rav1e"),
        ("log.level", "info"),
    ];
    for (key, text) in expected {
        let found = told.iter().find(|line| line.starts_with(key) && line.contains(text));
        assert!(found.is_some(), "no {key} with {text:?} in:\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), expected.len(), "{}", told.join("\n"));
    let at = problems.iter().find(|problem| problem.key == "images.formats").expect("reported");
    assert!(at.origin.ends_with("many-problems.toml:5"), "{}", at.origin);
}

#[test]
fn lists_are_sorted_and_hosts_normalised() {
    let flags = set(&[
        "images.device_sizes=1080, 640,1080",
        "images.formats=webp,avif,webp,jpg",
        "sources.domains=Images.Example.com,bücher.example,[::1],10.0.0.1",
        "sources.allow_cidrs=10.0.0.0/8,fd00::1",
        "sources.base_url=http://Web:3000",
        "sources.max_bytes=1MiB",
        "sources.timeout=1500ms",
        "server.next_path=/shop/_next/image/",
    ]);
    let config = load_flags(flags).expect("a good configuration").config;
    assert_eq!(config.http.sizes.device_sizes, [640, 1080]);
    assert_eq!(config.http.formats, [ImageFormat::Webp, ImageFormat::Avif, ImageFormat::Jpeg]);
    assert_eq!(config.sources.domains, ["images.example.com", "xn--bcher-kva.example", "[::1]", "10.0.0.1"]);
    assert_eq!(config.sources.allow_cidrs[1].to_string(), "fd00::1/128");
    assert_eq!(config.sources.base_url.as_ref().map(url::Url::as_str), Some("http://web:3000/"));
    assert_eq!((config.sources.max_bytes, config.sources.timeout), (1_048_576, Duration::from_millis(1500)));
    assert_eq!(
        (config.http.next_path.as_str(), config.sources.next_path.as_str()),
        ("/shop/_next/image", "/shop/_next/image")
    );
}

#[test]
fn a_pattern_that_admits_any_host_takes_a_word() {
    for pattern in [
        r#"[{"hostname":"*"}]"#,
        r#"[{"hostname":"**"}]"#,
        r#"[{"hostname":"good.example"},{"hostname_regex":"^.*$"}]"#,
        r#"[{"hostname":"**","pathname":"/a/**"}]"#,
    ] {
        let patterns = format!("sources.remote_patterns={pattern}");
        let problems = problems(set(&[&patterns]));
        assert!(problems.len() == 1 && problems[0].message.contains("allow_any_host"), "{problems:?}");
        load_flags(set(&[&patterns, "sources.allow_any_host=true"])).expect("the word is said");
    }
    load_flags(set(&[r#"sources.remote_patterns=[{"hostname":"**.example.com","port":8080}]"#])).expect("not any host");
}

#[test]
fn an_admin_listener_for_others_takes_a_token() {
    let outside = "server.admin_listen=0.0.0.0:8081";
    assert_eq!(problems(set(&[outside]))[0].key, "server.admin_listen");
    load_flags(set(&[outside, "server.admin_token=0123456789abcdef"])).expect("a token");
    load_flags(set(&["server.admin_listen=[::1]:8081"])).expect("loopback");
    assert_eq!(problems(set(&["server.admin_listen=127.0.0.1:8080"]))[0].key, "server.admin_listen");
    load_flags(set(&["server.listen=127.0.0.1:0", "server.admin_listen=127.0.0.1:0"])).expect("free ports differ");

    let folder = Folder::new("token");
    let assignment = |text: &str| {
        let path = folder.write(&format!("{}-token", text.len()), text);
        format!("server.admin_token_file={}", path.display())
    };
    let loaded = load_flags(set(&[outside, &assignment("from-a-file-0123456789\n")])).expect("a token");
    let token = loaded.config.http.admin_token.as_ref().map(Secret::expose);
    assert_eq!(token, Some("from-a-file-0123456789"));
    assert!(!loaded.describe().contains("***") && loaded.describe().contains("admin_token_file"));
    for flags in [
        set(&[outside, &assignment("short")]),
        set(&[outside, "server.admin_token_file=/nowhere/token"]),
        set(&[outside, &assignment("from-a-file-0123456789"), "server.admin_token=0123456789abcdef"]),
    ] {
        let problems = problems(flags);
        assert_eq!((problems.len(), problems[0].key.as_str()), (1, "server.admin_token_file"), "{problems:?}");
    }
}

#[test]
fn problems_do_not_repeat_secrets() {
    let told = Problems(problems(set(&[
        "server.admin_token=hunter2",
        "images.signing_keys=hunter2,hunter22",
        "sources.base_url=https://user:hunter2@web.example/",
        "sources.domains=https://user:hunter2@web.example/",
    ])));
    assert_eq!(told.0.len(), 4);
    assert!(!told.to_string().contains("hunter2"), "{told}");
    assert!(told.to_string().contains("***@web.example"), "{told}");
}

#[test]
fn signatures_that_nobody_can_make_are_not_required() {
    let told = problems(set(&["signing.required=true"]));
    assert_eq!((told.len(), told[0].key.as_str()), (1, "signing.required"), "{told:?}");
    for keys in ["signing.keys=a=0123456789abcdef", "images.signing_keys=0123456789abcdef"] {
        load_flags(set(&["signing.required=true", keys])).expect("there is a key");
    }
}

#[test]
fn files_that_cannot_be_read_are_problems() {
    let folder = Folder::new("files");
    for (path, text) in [
        (folder.0.join("none.toml"), "cannot be read"),
        (folder.write("broken.toml", "[images]\nsnap = \n"), "is no TOML"),
        (folder.write("twice.toml", "[images]\nsnap = true\nsnap = true\n"), "is no TOML"),
    ] {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let problems = problems(file(path));
        assert!(problems.len() == 1 && problems[0].message.contains(text), "{problems:?}");
        assert!(problems[0].origin.contains(&name), "{problems:?}");
    }
    let flags = Flags { next_manifest: Some(folder.write("m.json", "{}")), ..Flags::default() };
    assert_eq!(problems(flags)[0].key, "sources.next_manifest");
}

#[test]
fn a_budget_smaller_than_the_largest_picture_is_warned_of() {
    let warned = |assignment| {
        let loaded = load_flags(set(&[assignment])).expect("it works all the same");
        loaded.warnings.iter().any(|warning| warning.contains("limits.decode_memory"))
    };
    assert!(warned("limits.decode_memory=100MB"));
    assert!(!warned("limits.decode_memory=400MB"));
}
