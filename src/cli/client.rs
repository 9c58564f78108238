//! One HTTP request, for commands that speak to a running service.
//!
//! Invariant: bounded in time and in bytes whatever answers; neither a proxy of the environment nor a redirect takes the token
//! elsewhere.
#![expect(clippy::disallowed_types, reason = "who runs a command names the service it speaks to, and no source")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, redirect};

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
    // Fails when a provider is installed already, which is then the one to use.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(exchange(url, request, timeout))
}

async fn exchange(url: &str, request: &Request<'_>, timeout: Duration) -> anyhow::Result<Answer> {
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(timeout).user_agent("pixgate");
    let client = client.build()?;
    let mut asked = match request.json {
        Some(json) => client.post(url).header(CONTENT_TYPE, "application/json").body(json.to_owned()),
        None => client.get(url),
    };
    if let Some(token) = request.token {
        asked = asked.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    // What an error of the client says of the URL may hold a password.
    let mut answer = asked.send().await.map_err(reqwest::Error::without_url)?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url).context("no whole answer")? {
        ensure!(body.len() + piece.len() <= MAX_ANSWER_BYTES, "the answer is longer than {MAX_ANSWER_BYTES} bytes");
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
