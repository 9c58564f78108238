//! Tells a URL of the operator's, a CDN's purge endpoint or a relay to it, what was purged here.
//!
//! Invariant: it is told behind the answer, a few times at most, within bounded time; that it cannot be told is a counter
//! and a warning. The URL is the operator's own, so the allow-list and the address guard are not asked.
#![expect(clippy::disallowed_types, reason = "this is the one room that speaks HTTP as a client")]

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, redirect};

use super::Error;
use crate::telemetry::{Label, Metrics, OutcomeLabels, Secret, SecretUrl};

/// One attempt, answer included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses before the second and third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(3)];

/// A URL that is told of purges.
pub struct Webhook {
    client: Client,
    url: SecretUrl,
    authorization: Option<HeaderValue>,
    metrics: Arc<Metrics>,
}

impl Webhook {
    /// A webhook at `url`; with `token` it gets `Authorization: Bearer`.
    ///
    /// # Errors
    /// [`Error::Client`] when there is no HTTP client to be had or the token is no header value.
    pub fn new(url: SecretUrl, token: Option<&Secret>, user_agent: &str, metrics: Arc<Metrics>) -> Result<Self, Error> {
        // Fails when a provider is installed already, which is then the one to use.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(user_agent)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Error::Client(error.to_string()))?;
        let authorization = token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.expose())));
        let authorization = authorization.transpose().map_err(|error| Error::Client(error.to_string()))?;
        Ok(Self { client, url, authorization, metrics })
    }

    /// Posts a JSON document, until it is taken with a 2xx or the attempts are used up.
    pub async fn tell(&self, document: String) {
        let mut pauses = PAUSES.into_iter();
        loop {
            let outcome = self.attempt(document.clone()).await;
            let counted = if outcome.is_ok() { "ok" } else { "error" };
            self.metrics.webhooks.get_or_create(&OutcomeLabels { outcome: Label(counted) }).inc();
            let Err(reason) = outcome else { return };
            let Some(pause) = pauses.next() else {
                tracing::warn!(webhook = %self.url, reason, "the purge webhook could not be told");
                return;
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, document: String) -> Result<(), String> {
        let mut request =
            self.client.post(self.url.expose().clone()).header(CONTENT_TYPE, "application/json").body(document);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
    }
}
