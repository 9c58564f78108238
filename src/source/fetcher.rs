//! Downloads an admitted source: judged addresses, bounded bytes, bounded time, redirects by hand.
//!
//! Invariant: nothing of a client's request reaches an origin, no environment proxy sees a request, and every hop of a
//! redirect passes the whole policy and the address guard again.

#![expect(clippy::disallowed_types, reason = "this is the one room that fetches")]

mod coding;
#[cfg(test)]
mod courtesy;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::header::{
    ACCEPT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION, RETRY_AFTER,
};
use reqwest::{Client, ClientBuilder, Response, redirect};
use tokio::time::{Instant, timeout};

use super::bodies::{Bodies, Charge};
use super::dial::{GuardedResolver, Lookup, system_lookup};
use super::{Caching, Error, Failed, Phase, Settings, SourcePolicy, SourceUrl};
use crate::record::Validators;
use crate::telemetry::{Label, Loggable, Metrics, OutcomeLabels};

/// The field by which a request that comes back to its sender is known, and our name in it (RFC 8586).
pub const CDN_LOOP: &str = "cdn-loop";
/// Our name in [`CDN_LOOP`].
pub const CDN_NAME: &str = "pixgate";

/// How long an unused connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(90);

/// Hosts of which is known that a connection to them may be kept.
const HOSTS: u64 = 10_000;

/// Unused connections kept for one host.
const IDLE_PER_HOST: usize = 16;

/// Room made for a body at once, by its `Content-Length`: a lie costs no more than this.
const MAX_RESERVE: u64 = 1 << 20;

/// Longest time that an origin may ask to be left alone; clients are told no more.
const MAX_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer validators are not worth what they take.
const MAX_VALIDATOR: usize = 1_024;

/// A source's bytes and what its origin said of them.
#[derive(Clone, Debug)]
pub struct Download {
    /// The body, content-decoded.
    pub bytes: Bytes,
    /// What to ask with the next time.
    pub validators: Validators,
    /// How long it may be kept.
    pub caching: Caching,
    /// The share of the budget for bodies that it has.
    pub charge: Arc<Charge>,
}

/// What an origin answered.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// What the validators name is still the source.
    NotModified(Caching),
    /// The source.
    Modified(Download),
}

/// The HTTP client of the process.
pub struct Fetcher {
    policy: Arc<SourcePolicy>,
    metrics: Arc<Metrics>,
    /// For every absolute URL.
    guarded: Client,
    /// For the operator's own `base_url`, which may be at a private address.
    trusted: Client,
    /// Hosts and ports that have answered lately.
    answered: moka::sync::Cache<String, ()>,
    max_redirects: u32,
    max_bytes: u64,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    timeout: Duration,
    bodies: Bodies,
}

impl Fetcher {
    /// Builds the clients.
    ///
    /// # Errors
    /// [`Error::Client`] when the system's trusted certificates cannot be read or the user agent is no header value.
    pub fn new(policy: Arc<SourcePolicy>, settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::with_lookup(policy, settings, metrics, system_lookup())
    }

    fn with_lookup(
        policy: Arc<SourcePolicy>,
        settings: &Settings,
        metrics: Arc<Metrics>,
        lookup: Lookup,
    ) -> Result<Self, Error> {
        // Fails when a provider is installed already, which is then the one to use.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let build = |builder: ClientBuilder| builder.build().map_err(|error| Error::Client(chain(&error)));
        let resolver = GuardedResolver { guard: policy.guard().clone(), lookup };
        Ok(Self {
            guarded: build(client(settings).dns_resolver(resolver))?,
            trusted: build(client(settings))?,
            answered: moka::sync::Cache::builder().max_capacity(HOSTS).time_to_live(IDLE_CONNECTION).build(),
            policy,
            metrics,
            max_redirects: settings.max_redirects,
            max_bytes: settings.max_bytes,
            first_byte_timeout: settings.first_byte_timeout,
            idle_timeout: settings.idle_timeout,
            timeout: settings.timeout,
            bodies: Bodies::of(u64::MAX, settings.timeout),
        })
    }

    /// With a budget for the bodies of all downloads; without there is none.
    #[must_use]
    pub fn within(self, bodies: Bodies) -> Self {
        Self { bodies, ..self }
    }

    /// The budget for bodies.
    pub fn bodies(&self) -> Bodies {
        self.bodies.clone()
    }

    /// Downloads a source, or learns that it has not changed. Dropping the future ends the request.
    ///
    /// # Errors
    /// Every way in which an origin can fail, see [`Error`].
    pub async fn fetch(&self, url: &SourceUrl, validators: Option<&Validators>) -> Result<Fetched, Failed> {
        let started = Instant::now();
        let mut way = Way { at: url.clone(), refused: None, retry_at: None };
        let result = timeout(self.timeout, self.follow(&mut way, validators)).await;
        let result = result.unwrap_or(Err(Error::Timeout(Phase::Total)));
        let outcome = match &result {
            Ok(Fetched::Modified(_)) => Label("ok"),
            Ok(Fetched::NotModified(_)) => Label("not_modified"),
            Err(error) => error.label(),
        };
        self.metrics.origin_fetches.get_or_create(&OutcomeLabels { outcome }).inc();
        self.metrics.origin_fetch_seconds.observe(started.elapsed().as_secs_f64());
        result.map_err(|error| {
            let moved = (way.at != *url).then(|| way.at.loggable());
            Failed { error, redirected_to: way.refused.or(moved), retry_at: way.retry_at }
        })
    }

    async fn follow(&self, way: &mut Way, validators: Option<&Validators>) -> Result<Fetched, Error> {
        let validators = validators.filter(|validators| !validators.is_empty());
        // A redirect that is private leads to a private place, and one that must be asked for each time to one that must:
        // it counts for what is behind it.
        let mut before: Option<Caching> = None;
        for _ in 0..=self.max_redirects {
            let response = self.request(&way.at, validators).await?;
            let headers = response.headers();
            let mut caching = Caching::of(headers, SystemTime::now());
            if let Some(before) = &before {
                caching = caching.behind(before);
            }
            match response.status().as_u16() {
                // What is created, accepted or altered on the way is an image too, if its bytes are one.
                200..=203 => {
                    let validators =
                        Validators { etag: validator(headers, ETAG), last_modified: validator(headers, LAST_MODIFIED) };
                    let (bytes, charge) = self.body(response).await?;
                    return Ok(Fetched::Modified(Download { bytes, validators, caching, charge: Arc::new(charge) }));
                }
                304 if validators.is_some() => return Ok(Fetched::NotModified(caching)),
                301 | 302 | 303 | 307 | 308 => {
                    let location = location(headers).ok_or(Error::BadRedirect)?;
                    way.at = self.policy.admit_redirect(&way.at, &location).map_err(|refusal| {
                        way.refused = way.at.expose_url().join(&location).ok().map(|url| Loggable::of(&url));
                        Error::Refused(refusal)
                    })?;
                    before = Some(caching);
                }
                status => {
                    way.retry_at = retry_at(headers, SystemTime::now());
                    return Err(Error::Status(status));
                }
            }
        }
        Err(Error::TooManyRedirects)
    }

    async fn request(&self, url: &SourceUrl, validators: Option<&Validators>) -> Result<Response, Error> {
        let client = if url.is_local() { &self.trusted } else { &self.guarded };
        let mut headers = HeaderMap::new();
        if let Some(validators) = validators {
            // What is no header value any more is not asked with.
            let mut ask = |name: HeaderName, text: &Option<String>| {
                if let Some(value) = text.as_deref().and_then(given_back) {
                    headers.insert(name, value);
                }
            };
            ask(IF_NONE_MATCH, &validators.etag);
            ask(IF_MODIFIED_SINCE, &validators.last_modified);
        }
        headers.insert(HeaderName::from_static(CDN_LOOP), HeaderValue::from_static(CDN_NAME));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding::ACCEPTED));
        let ask = || async {
            let response = client.get(url.expose_url().clone()).headers(headers.clone()).send().await;
            response.map_err(|error| Error::of_request(&error))
        };
        let host = url.expose_url()[url::Position::BeforeScheme..url::Position::AfterPort].to_owned();
        let head = async {
            let first = ask().await;
            // RFC 9112 §9.3.1: an origin may close a kept connection at any time, also just as it is used again.
            let kept = self.answered.contains_key(&host);
            if kept && first.as_ref().is_err_and(Error::is_reset) { ask().await } else { first }
        };
        let response = timeout(self.first_byte_timeout, head).await;
        let response = response.unwrap_or(Err(Error::Timeout(Phase::FirstByte)))?;
        self.answered.insert(host, ());
        Ok(response)
    }

    async fn body(&self, response: Response) -> Result<(Bytes, Charge), Error> {
        let limit = self.max_bytes;
        let codings = coding::codings(response.headers());
        let promised = response.content_length().unwrap_or(0);
        if promised > limit {
            return Err(Error::TooLarge { limit });
        }
        let mut charge = self.bodies.charge();
        charge.grow_to(promised.min(MAX_RESERVE)).await?;
        let mut body = BytesMut::with_capacity(promised.min(MAX_RESERVE) as usize);
        let mut chunks = response.bytes_stream();
        loop {
            let next = timeout(self.idle_timeout, chunks.next()).await;
            match next.map_err(|_| Error::Timeout(Phase::Idle))? {
                None => break,
                Some(Err(_)) => return Err(Error::Interrupted),
                Some(Ok(chunk)) if (body.len() + chunk.len()) as u64 > limit => {
                    return Err(Error::TooLarge { limit });
                }
                Some(Ok(chunk)) => {
                    let needed = body.len() + chunk.len();
                    if needed > body.capacity() {
                        // What it grows to: as much as was promised at once, but no more than twice what has come.
                        let room = needed * 2;
                        let room = if promised > 0 { room.min(needed.max(promised as usize)) } else { room };
                        charge.grow_to(room as u64).await?;
                        body.reserve(room - body.len());
                    }
                    body.extend_from_slice(&chunk);
                }
            }
        }
        let mut body = body.freeze();
        if !body.is_empty() && !codings.is_empty() {
            // The task outlives whoever waits for it, so that it has to end by itself.
            let until = std::time::Instant::now() + self.timeout;
            let decoded = tokio::task::spawn_blocking(move || coding::decoded(body, &codings, limit, until));
            body = decoded.await.map_err(|panic| Error::Client(panic.to_string()))??;
            charge.grow_to(body.len() as u64).await?;
        }
        if body.is_empty() { Err(Error::Empty) } else { Ok((body, charge)) }
    }
}

/// How far a download has come.
struct Way {
    at: SourceUrl,
    /// The target of a redirect that was not followed.
    refused: Option<Loggable>,
    retry_at: Option<std::time::Instant>,
}

/// What both clients share. Neither follows redirects, keeps cookies, or asks the environment for a proxy.
fn client(settings: &Settings) -> ClientBuilder {
    Client::builder()
        .user_agent(&settings.user_agent)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .tcp_nodelay(true)
}

/// A field to be given back as it came: each character is one of its bytes.
fn validator(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    (bytes.len() <= MAX_VALIDATOR).then(|| bytes.iter().copied().map(char::from).collect())
}

fn given_back(text: &str) -> Option<HeaderValue> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    HeaderValue::from_bytes(&bytes.ok()?).ok()
}

/// The target of a redirect; bytes beyond ASCII are escaped one by one, as browsers do, whatever alphabet they are of.
fn location(headers: &HeaderMap) -> Option<String> {
    let bytes = headers.get(LOCATION)?.as_bytes().trim_ascii();
    let mut location = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0x80.. => location.push_str(percent_encoding::percent_encode_byte(*byte)),
            _ => location.push(char::from(*byte)),
        }
    }
    Some(location)
}

/// When an origin wants to be asked again: a number of seconds from now, or a date.
fn retry_at(headers: &HeaderMap, now: SystemTime) -> Option<std::time::Instant> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    std::time::Instant::now().checked_add(wait.min(MAX_RETRY))
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
