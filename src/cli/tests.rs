//! Exit codes, files written, and the health check against a listener of the test's own.
//! Law: the process's own environment is not read, and nothing outside the temporary folder is written.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split(' '))
}

fn exit(line: &str) -> String {
    let code = run_with(line.split(' ').map(OsString::from), &Environment::default());
    format!("{code:?}")
}

fn code(number: u8) -> String {
    format!("{:?}", ExitCode::from(number))
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).display().to_string()
}

#[test]
fn the_grammar_is_consistent() {
    <Arguments as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn flags_go_before_and_after_the_command() {
    for line in [
        "pixgate --config a.toml --set log.level=warn --domain a.example serve --domain b.example --listen [::]:80",
        "pixgate serve --config a.toml --domain b.example --set log.level=warn --listen [::]:80",
    ] {
        let flags = Flags::from(parse(line).expect("good arguments").settings);
        assert_eq!(flags.config.as_deref(), Some(Path::new("a.toml")), "{line}");
        assert_eq!(flags.set, ["log.level=warn"], "{line}");
        assert!(flags.domain.contains(&"b.example".to_owned()), "{line}");
        assert_eq!(flags.listen.as_deref(), Some("[::]:80"), "{line}");
    }
}

#[test]
fn wrong_use_is_2() {
    for line in [
        "pixgate",
        "pixgate serv",
        "pixgate serve --colour",
        "pixgate render a.jpg",
        "pixgate render a.jpg -f gif -o x",
        "pixgate render a.jpg -w 0 -o x",
        "pixgate render a.jpg -q 101 -o x",
        "pixgate render a.jpg --fit crop -o x",
        "pixgate render a.jpg --bg red -o x",
        "pixgate placeholder a.jpg --format gif",
        "pixgate import-next",
        "pixgate check-config --config",
    ] {
        assert_eq!(exit(line), code(2), "{line}");
    }
    let good = "pixgate render https://a.example/b -w 640 --height 4 -f jpg -q 60 --fit cover --bg ff0000 -o -";
    assert!(parse(good).is_ok());
}

#[test]
fn failures_are_1() {
    let empty = fixture("config/empty.toml");
    for line in [
        format!("pixgate check-config --config {}", fixture("config/many-problems.toml")),
        format!("pixgate serve --config {}", fixture("config/many-problems.toml")),
        format!("pixgate render /nowhere/a.jpg -o x --config {empty}"),
        format!("pixgate placeholder {empty} --config {empty}"),
        "pixgate import-next /nowhere/manifest.json".to_owned(),
        format!("pixgate import-next {empty}"),
        "pixgate health --url https://127.0.0.1/healthz".to_owned(),
        "pixgate health --url nowhere".to_owned(),
    ] {
        assert_eq!(exit(&line), code(1), "{line}");
    }
}

#[test]
fn an_import_is_written_to_its_file() {
    let path = std::env::temp_dir().join(format!("pixgate-cli-import-{}.toml", std::process::id()));
    let manifest = fixture("next/images-manifest.16.json");
    assert_eq!(exit(&format!("pixgate import-next {manifest} -o {}", path.display())), code(0));
    let text = std::fs::read_to_string(&path).expect("the import");
    std::fs::remove_file(&path).expect("the file to be there");
    assert!(text.contains("[sources]") && text.contains("**.example.org"), "{text}");
}

/// Answers one connection with this text, and gives back what was asked.
fn answering(text: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).expect("a request");
        stream.write_all(text.as_bytes()).expect("an answer");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    (format!("http://{address}/healthz"), server)
}

#[test]
fn health_is_a_2xx() {
    for (answer, healthy) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
        ("HTTP/1.1 302 Found\r\n\r\n", false),
        ("SSH-2.0-OpenSSH\r\n", false),
        ("", false),
    ] {
        let (url, server) = answering(answer);
        assert_eq!(health::check(&url).is_ok(), healthy, "{answer:?}");
        let request = server.join().expect("the server ended");
        let request = request.to_ascii_lowercase();
        assert!(
            request.starts_with("get /healthz http/1.1\r\n") && request.contains("\r\nhost: 127.0.0.1:"),
            "{request}"
        );
    }
    // Bound and dropped: nothing listens there.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    assert!(health::check(&client::url_of(free, "/healthz")).is_err());
}

#[test]
fn health_asks_loopback_when_the_service_listens_everywhere() {
    let of = |listen: &str| client::url_of(listen.parse().expect("an address"), "/healthz");
    assert_eq!(of("0.0.0.0:8080"), "http://127.0.0.1:8080/healthz");
    assert_eq!(of("[::]:80"), "http://[::1]:80/healthz");
    assert_eq!(of("10.1.2.3:80"), "http://10.1.2.3:80/healthz");
}

#[test]
fn a_chain_says_each_cause_once() {
    let error = anyhow::anyhow!("the socket is closed").context("cannot read: the socket is closed").context("no luck");
    assert_eq!(chain(&error), "no luck: cannot read: the socket is closed");
}
