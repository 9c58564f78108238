//! The command line: `check-config`, `import-next`, `render`, `placeholder`, `health`, usage errors, and the order
//! flags > environment > TOML > manifest. Law: exit codes are 0 done, 1 failed, 2 usage; secrets never appear; a
//! configuration's problems come all at once, each with its key and where it came from.

#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the harness shows the service's log on failure and waits for processes"
)]

#[expect(dead_code, reason = "the command line needs a part of the harness that the API suite uses whole")]
#[path = "../api/harness/mod.rs"]
mod harness;
mod memory;

use harness::app::{Setup, TempDir, run};
use harness::pictures::{self, jpeg, look};

/// Writes a configuration and checks it; the exit code, stdout and stderr.
fn check(toml: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let dir = TempDir::new();
    dir.write("my.toml", toml);
    run(dir.path(), environment, &["check-config", "--config", "my.toml"])
}

#[test]
fn a_valid_configuration_is_shown_with_the_origin_of_each_value() {
    let toml = "[images]\nqualities = [60, 75]\n[limits]\nqueue = 17\n";
    let (code, shown, said) = check(toml, &[("PIXGATE_IMAGES_SNAP", "true"), ("PIXGATE_LIMITS_QUEUE", "19")]);
    assert_eq!(code, Some(0), "{said}");
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.contains(key));
        found.unwrap_or_else(|| panic!("no {key} in:\n{shown}")).to_owned()
    };
    assert!(line("qualities").contains("60") && line("qualities").contains("my.toml"), "{}", line("qualities"));
    assert!(line("snap").contains("true") && line("snap").contains("PIXGATE_IMAGES_SNAP"), "{}", line("snap"));
    // The environment wins over the file.
    assert!(
        line("queue = ").contains("19") && line("queue = ").contains("PIXGATE_LIMITS_QUEUE"),
        "{}",
        line("queue = ")
    );
    assert!(
        line("max_redirects").contains('3') && line("max_redirects").contains("default"),
        "{}",
        line("max_redirects")
    );
}

#[test]
fn nothing_at_all_is_a_valid_configuration() {
    let dir = TempDir::new();
    let (code, shown, said) = run(dir.path(), &[], &["check-config"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("127.0.0.1:8080"), "{shown}");
}

#[test]
fn all_problems_come_at_once() {
    let toml = "[images]\nqualities = [0, 75]\nminimum_cache_ttl = \"soon\"\n[limits]\nqueue = \"many\"\n[server]\nlisten = \"nowhere\"\n[sources]\nallow_cidrs = [\"10.0.0.0/99\"]\n";
    let (code, shown, said) = check(toml, &[("PIXGATE_SOURCES_MAX_BYTES", "big")]);
    assert_eq!(code, Some(1), "{shown}");
    for key in ["images.qualities", "images.minimum_cache_ttl", "limits.queue", "server.listen", "sources.allow_cidrs"]
    {
        let named = said.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("no {key} in:\n{said}"));
        assert!(named.contains("my.toml"), "where it came from: {named}");
    }
    let named = said.lines().find(|line| line.contains("sources.max_bytes")).unwrap_or_else(|| panic!("{said}"));
    assert!(named.contains("PIXGATE_SOURCES_MAX_BYTES"), "{named}");
}

#[test]
fn unknown_keys_sections_and_variables_are_refused() {
    let (code, _, said) =
        check("[images]\nqualitys = [75]\n[imagse]\nsnap = true\n", &[("PIXGATE_IMAGES_SANP", "true")]);
    assert_eq!(code, Some(1));
    for name in ["images.qualitys", "imagse", "PIXGATE_IMAGES_SANP"] {
        assert!(said.contains(name), "no {name} in:\n{said}");
    }
    // Kubernetes sets these for a service of our name; they are no configuration.
    let links =
        [("PIXGATE_PORT", "tcp://10.0.0.1:80"), ("PIXGATE_SERVICE_HOST", "10.0.0.1"), ("PIXGATE_PORT_80_TCP", "x")];
    let (code, _, said) = check("", &links);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_wildcard_host_is_refused_unless_the_word_is_said() {
    for host in ["*", "**"] {
        let toml = format!("[sources]\nremote_patterns = [{{ hostname = \"{host}\" }}]\n");
        let (code, _, said) = check(&toml, &[]);
        assert_eq!(code, Some(1), "{host}");
        assert!(said.contains("sources.remote_patterns") && said.contains("allow_any_host"), "{said}");
        let (code, _, said) = check(&format!("{toml}allow_any_host = true\n"), &[]);
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, _, said) = check("[sources]\nremote_patterns = [{ hostname = \"**.example.com\" }]\n", &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = check("[sources]\ndomains = [\"*\"]\n", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("sources.domains"), "{said}");
}

#[test]
fn secrets_are_masked() {
    let toml = "[server]\nadmin_token = \"hunter2-token-0123456789abcdef\"\n[images]\nsigning_keys = [\"hunter2-key-0123456789abcdef012345\"]\n[sources]\nbase_url = \"https://user:hunter2-password@app.example\"\n";
    for environment in [&[][..], &[("PIXGATE_SERVER_ADMIN_TOKEN", "hunter2-from-env-0123456789abcdef")]] {
        let (_, shown, said) = check(toml, environment);
        assert!(!shown.contains("hunter2") && !said.contains("hunter2"), "{shown}\n{said}");
    }
    let (code, shown, said) = check("[server]\nadmin_token = \"hunter2-token-0123456789abcdef\"\n", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("admin_token"), "named, though not shown: {shown}");
}

#[test]
fn broken_or_missing_files_are_said_clearly() {
    let (code, _, said) = check("[images\nsnap = true", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("my.toml"), "{said}");
    let dir = TempDir::new();
    let (code, _, said) = run(dir.path(), &[], &["check-config", "--config", "none.toml"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("none.toml"), "{said}");
    let (code, _, said) = run(dir.path(), &[("PIXGATE_CONFIG", "other.toml")], &["check-config"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("other.toml"), "PIXGATE_CONFIG is read: {said}");
}

#[test]
fn manifests_that_cannot_be_read_are_failures() {
    let dir = TempDir::new();
    dir.write("broken.json", "{\"version\": 1, ");
    dir.write("future.json", "{\"version\": 99, \"images\": {}}");
    for file in ["none.json", "broken.json", "future.json"] {
        let (code, _, said) = run(dir.path(), &[], &["import-next", file]);
        assert_eq!(code, Some(1), "{file}");
        assert!(said.contains(file), "{said}");
    }
}

#[test]
fn an_import_says_where_the_app_is() {
    let dir = TempDir::new();
    dir.write("m.json", r#"{"version":1,"images":{"deviceSizes":[640]}}"#);
    let (code, shown, said) = run(dir.path(), &[], &["import-next", "m.json"]);
    assert!(code == Some(0) && shown.contains("# base_url = "), "{shown}\n{said}");
    let (code, shown, said) = run(dir.path(), &[], &["import-next", "m.json", "--base-url", "http://web:3000"]);
    assert!(code == Some(0) && shown.contains("\nbase_url = \"http://web:3000\""), "{shown}\n{said}");
    dir.write("pixgate.toml", shown);
    let (code, shown, said) = run(dir.path(), &[], &["check-config"]);
    assert!(code == Some(0) && shown.contains("http://web:3000") && !said.contains("base_url"), "{shown}\n{said}");
    let (code, _, said) = run(dir.path(), &[], &["import-next", "m.json", "--base-url", "web:3000"]);
    assert!(code == Some(1) && said.contains("--base-url"), "{said}");
}

#[test]
fn render_writes_a_picture() {
    let dir = TempDir::new();
    dir.write("in.jpg", jpeg(400, 200));
    for (format, mime) in [("webp", "image/webp"), ("avif", "image/avif"), ("jpeg", "image/jpeg"), ("png", "image/png")]
    {
        let out = format!("out.{format}");
        let (code, _, said) = run(dir.path(), &[], &["render", "in.jpg", "-w", "64", "-f", format, "-o", &out]);
        assert_eq!(code, Some(0), "{said}");
        let seen = look(&std::fs::read(dir.path().join(&out)).expect("the picture"));
        assert_eq!((seen.mime, seen.size()), (mime, (64, 32)));
    }
    let original = std::fs::read(dir.path().join("in.jpg")).expect("the source");
    assert_eq!(original, jpeg(400, 200), "the source is untouched");
}

#[test]
fn render_fails_clearly() {
    let dir = TempDir::new();
    dir.write("page.jpg", "<html>no picture</html>");
    dir.write("bomb.png", pictures::png_header_only(60_000, 50_000));
    for file in ["none.jpg", "page.jpg", "bomb.png"] {
        let (code, _, said) = run(dir.path(), &[], &["render", file, "-w", "64", "-f", "webp", "-o", "out.webp"]);
        assert_eq!(code, Some(1), "{file}");
        assert!(said.contains(file), "{said}");
        assert!(!dir.path().join("out.webp").exists(), "nothing is left behind");
    }
}

#[test]
fn placeholder_prints_the_object() {
    let dir = TempDir::new();
    dir.write("in.jpg", jpeg(1600, 1000));
    let (code, shown, said) = run(dir.path(), &[], &["placeholder", "in.jpg"]);
    assert_eq!(code, Some(0), "{said}");
    let object: serde_json::Value = serde_json::from_str(&shown).expect("JSON alone on stdout");
    assert_eq!((&object["width"], &object["blurWidth"], &object["blurHeight"]), (&1600.into(), &8.into(), &5.into()));
    assert!(object["blurDataURL"].as_str().is_some_and(|url| url.starts_with("data:image/png;base64,")));
    let (code, shown, _) = run(dir.path(), &[], &["placeholder", "none.jpg"]);
    assert_eq!((code, shown.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn health_asks_the_configured_listener() {
    let app = Setup::new().start().await;
    let dir = TempDir::new();
    let listen = app.public.to_string();
    let (code, _, said) = run(dir.path(), &[("PIXGATE_SERVER_LISTEN", &listen)], &["health"]);
    assert_eq!(code, Some(0), "{said}");
    // In a container it listens on every address, and is asked on loopback.
    let every = format!("0.0.0.0:{}", app.public.port());
    assert_eq!(run(dir.path(), &[("PIXGATE_SERVER_LISTEN", &every)], &["health"]).0, Some(0));
    drop(app);
    let (code, _, said) = run(dir.path(), &[("PIXGATE_SERVER_LISTEN", &listen)], &["health"]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn usage_errors_are_2_and_help_is_0() {
    let dir = TempDir::new();
    let bad: &[&[&str]] = &[
        &[],
        &["serv"],
        &["serve", "--colour"],
        &["render"],
        &["render", "in.jpg", "-w", "wide", "-f", "webp", "-o", "x"],
        &["render", "in.jpg", "-w", "64", "-f", "gif", "-o", "x"],
        &["render", "in.jpg", "-o", "out.gif"],
        &["placeholder"],
        &["import-next"],
        &["check-config", "--config"],
    ];
    for arguments in bad {
        let (code, _, said) = run(dir.path(), &[], arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(!said.is_empty());
    }
    for arguments in [&["--help"][..], &["help"], &["--version"], &["serve", "--help"]] {
        let (code, shown, said) = run(dir.path(), &[], arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(shown.contains("pixgate"), "{shown}");
    }
}
