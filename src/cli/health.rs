//! `pixgate health`: one plain HTTP/1.1 GET, for a container's health check where there is no curl.
//!
//! The law: bounded in time and in bytes whatever answers; anything but a 2xx status is a failure.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use url::Url;

/// For everything together; Docker's own limit for a check is 30 s by default, and a healthy service takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than any status line.
const MAX_LINE_BYTES: usize = 1024;

/// `/healthz` of a listener, by loopback where it listens on every address.
pub(super) fn url_of(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}/healthz", SocketAddr::new(ip, listen.port()))
}

/// # Errors
/// When there is no answer in time, or its status is no 2xx.
pub(super) fn check(url: &str) -> anyhow::Result<()> {
    let status = status(url, Instant::now() + TIMEOUT).with_context(|| format!("{url} is not healthy"))?;
    ensure!((200..300).contains(&status), "{url} is not healthy: status {status}");
    Ok(())
}

fn status(url: &str, deadline: Instant) -> anyhow::Result<u16> {
    let url = Url::parse(url).context("no URL")?;
    ensure!(url.scheme() == "http", "only http:// is spoken here");
    let host = url.host_str().context("no host")?;
    // An address in brackets is what a URL and a `Host` header want, not what the resolver takes.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let address = (name, url.port_or_known_default().unwrap_or(80)).to_socket_addrs()?.next().context("no address")?;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { bail!("no answer within {} s", TIMEOUT.as_secs()) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: pixgate-health\r\nConnection: close\r\n\r\n",
        &url[url::Position::BeforePath..url::Position::AfterQuery]
    );
    stream.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while !line.contains(&b'\n') && line.len() < MAX_LINE_BYTES {
        // Set anew for each read, so that an answer that drips cannot outlast the deadline.
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    let line = String::from_utf8_lossy(&line);
    let code =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.trim().parse().ok());
    code.context("the answer is no HTTP")
}
