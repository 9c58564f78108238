//! Downloads an admitted source: judged addresses, bounded bytes, bounded time, redirects by hand.
//!
//! The law: nothing of a client's request reaches an origin, no environment proxy sees a request, and every hop of a
//! redirect passes the whole policy and the address guard again.

#![expect(clippy::disallowed_types, reason = "this is the one room that fetches")]

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
    CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION,
};
use reqwest::{Client, ClientBuilder, Response, StatusCode, redirect};
use tokio::time::{Instant, timeout};

use super::dial::{GuardedResolver, Lookup, system_lookup};
use super::{Caching, Error, Phase, Settings, SourcePolicy, SourceUrl};
use crate::record::Validators;
use crate::telemetry::{Label, Metrics, OutcomeLabels};

/// How long an unused connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(90);

/// Unused connections kept for one host.
const IDLE_PER_HOST: usize = 16;

/// Room made for a body at once, by its `Content-Length`: a lie costs no more than this.
const MAX_RESERVE: u64 = 1 << 20;

/// A source's bytes and what its origin said of them.
#[derive(Clone, Debug)]
pub struct Download {
    /// The body, content-decoded.
    pub bytes: Bytes,
    /// What to ask with the next time.
    pub validators: Validators,
    /// How long it may be kept.
    pub caching: Caching,
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
    max_redirects: u32,
    max_bytes: u64,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    timeout: Duration,
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
            policy,
            metrics,
            max_redirects: settings.max_redirects,
            max_bytes: settings.max_bytes,
            first_byte_timeout: settings.first_byte_timeout,
            idle_timeout: settings.idle_timeout,
            timeout: settings.timeout,
        })
    }

    /// Downloads a source, or learns that it has not changed. Dropping the future ends the request.
    ///
    /// # Errors
    /// Every way in which an origin can fail, see [`Error`].
    pub async fn fetch(&self, url: &SourceUrl, validators: Option<&Validators>) -> Result<Fetched, Error> {
        let started = Instant::now();
        let result = timeout(self.timeout, self.follow(url, validators)).await;
        let result = result.unwrap_or(Err(Error::Timeout(Phase::Total)));
        let outcome = match &result {
            Ok(Fetched::Modified(_)) => Label("ok"),
            Ok(Fetched::NotModified(_)) => Label("not_modified"),
            Err(error) => error.label(),
        };
        self.metrics.origin_fetches.get_or_create(&OutcomeLabels { outcome }).inc();
        self.metrics.origin_fetch_seconds.observe(started.elapsed().as_secs_f64());
        result
    }

    async fn follow(&self, url: &SourceUrl, validators: Option<&Validators>) -> Result<Fetched, Error> {
        let validators = validators.filter(|validators| !validators.is_empty());
        let mut url = url.clone();
        // A redirect that is private leads to a private place: it counts for what is behind it.
        let mut storable = true;
        for _ in 0..=self.max_redirects {
            let response = self.request(&url, validators).await?;
            let headers = response.headers();
            let mut caching = Caching::of(headers, SystemTime::now());
            caching.storable &= storable;
            match response.status() {
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                    let validators =
                        Validators { etag: text(headers, ETAG), last_modified: text(headers, LAST_MODIFIED) };
                    let bytes = self.body(response).await?;
                    return Ok(Fetched::Modified(Download { bytes, validators, caching }));
                }
                StatusCode::NOT_MODIFIED if validators.is_some() => return Ok(Fetched::NotModified(caching)),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = text(headers, LOCATION).ok_or(Error::BadRedirect)?;
                    url = self.policy.admit_redirect(&url, &location).map_err(Error::Refused)?;
                    storable = caching.storable;
                }
                status => return Err(Error::Status(status.as_u16())),
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
                if let Some(value) = text.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                    headers.insert(name, value);
                }
            };
            ask(IF_NONE_MATCH, &validators.etag);
            ask(IF_MODIFIED_SINCE, &validators.last_modified);
        }
        let head = client.get(url.expose_url().clone()).headers(headers).send();
        match timeout(self.first_byte_timeout, head).await {
            Ok(response) => response.map_err(|error| Error::of_request(&error)),
            Err(_) => Err(Error::Timeout(Phase::FirstByte)),
        }
    }

    async fn body(&self, response: Response) -> Result<Bytes, Error> {
        let limit = self.max_bytes;
        // The client removes the field when it decodes; what is left is a coding it does not know, or several.
        let encoding = response.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Error::Encoding);
        }
        let promised = response.content_length().unwrap_or(0);
        if promised > limit {
            return Err(Error::TooLarge { limit });
        }
        let mut body = BytesMut::with_capacity(promised.min(MAX_RESERVE) as usize);
        let mut chunks = response.bytes_stream();
        loop {
            let next = timeout(self.idle_timeout, chunks.next()).await;
            match next.map_err(|_| Error::Timeout(Phase::Idle))? {
                None => break,
                Some(Err(error)) => return Err(Error::of_body(&error)),
                Some(Ok(chunk)) if (body.len() + chunk.len()) as u64 > limit => {
                    return Err(Error::TooLarge { limit });
                }
                Some(Ok(chunk)) => body.extend_from_slice(&chunk),
            }
        }
        if body.is_empty() { Err(Error::Empty) } else { Ok(body.freeze()) }
    }
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

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
