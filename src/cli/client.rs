//! One plain HTTP/1.0 request, for commands that speak to a running service.
//!
//! The law: bounded in time and in bytes whatever answers. HTTP/1.0, so that the body ends where the connection does.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use url::{Position, Url};

/// More than any answer that is asked for here.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What is sent besides the URL.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    /// Sent as JSON with POST; without it, GET.
    pub(super) json: Option<&'a str>,
    /// Sent as bearer token.
    pub(super) token: Option<&'a str>,
}

/// Status and body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// The URL of a listener, by loopback where it listens on every address.
pub(super) fn url_of(listen: SocketAddr, path: &str) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}{path}", SocketAddr::new(ip, listen.port()))
}

/// # Errors
/// When there is no HTTP answer within `timeout`.
pub(super) fn send(url: &str, request: &Request<'_>, timeout: Duration) -> anyhow::Result<Answer> {
    let url = Url::parse(url).context("no URL")?;
    ensure!(url.scheme() == "http", "only http:// is spoken here");
    let host = url.host_str().context("no host")?;
    // An address in brackets is what a URL and a `Host` header want, not what the resolver takes.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let address = (name, url.port_or_known_default().unwrap_or(80)).to_socket_addrs()?.next().context("no address")?;
    let deadline = Instant::now() + timeout;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { bail!("no answer within {} s", timeout.as_secs()) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(head_and_body(&url, host, request)?.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < MAX_ANSWER_BYTES {
        // Set anew for each read, so that an answer that drips cannot outlast the deadline.
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    parse(&String::from_utf8_lossy(&answer)).context("the answer is no HTTP")
}

fn head_and_body(url: &Url, host: &str, request: &Request<'_>) -> anyhow::Result<String> {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let method = if request.json.is_some() { "POST" } else { "GET" };
    let mut text = format!("{method} {target} HTTP/1.0\r\nHost: {host}{port}\r\nUser-Agent: pixgate\r\n");
    if let Some(token) = request.token {
        ensure!(!token.contains(['\r', '\n']), "a token with a line break");
        text.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if let Some(json) = request.json {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len()));
    }
    text.push_str("\r\n");
    text.push_str(request.json.unwrap_or_default());
    Ok(text)
}

fn parse(text: &str) -> Option<Answer> {
    let line = text.lines().next()?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.trim().parse().ok()?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some(Answer { status, body: body.to_owned() })
}
