//! `pixgate purge`: has a running service, and through it every replica, take sources out of the cache.
//!
//! It asks the admin listener of the configuration, with the configured token, and prints what came of it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::client::{self, Request, send};
use super::write_result;
use crate::config::Config;
use crate::telemetry::Loggable;

/// A purge waits two seconds for replicas that do not answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `purge`.
#[derive(Args, Debug)]
pub(super) struct Purge {
    #[command(flatten)]
    target: Target,
    /// Serve the old image while it is refreshed
    #[arg(long)]
    soft: bool,
    /// The admin listener; without it, that of the configuration
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Target {
    /// The source: an absolute URL, or a path on sources.base_url
    url: Option<String>,
    /// Every source whose URL begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Every source of this host
    #[arg(long)]
    host: Option<String>,
    /// Every source
    #[arg(long)]
    all: bool,
}

impl Purge {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<()> {
        let Target { url, prefix, host, all } = self.target;
        let named = [("url", url), ("prefix", prefix), ("host", host)];
        let mut document = serde_json::Map::new();
        document.extend(named.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
        if all {
            document.insert("all".to_owned(), true.into());
        }
        document.insert("soft".to_owned(), self.soft.into());
        let document = serde_json::Value::from(document).to_string();
        let listener = self.admin.map(|url| format!("{}/purge", url.trim_end_matches('/')));
        let listener = listener.unwrap_or_else(|| client::url_of(config.http.admin_listen, "/purge"));
        let token = config.http.admin_token.as_ref().map(|token| token.expose());
        let answer = send(&listener, &Request { json: Some(&document), token }, TIMEOUT)
            .with_context(|| format!("cannot ask {}", Loggable::text(&listener)))?;
        if answer.status != 200 {
            let listener = Loggable::text(&listener);
            bail!("{listener} answers with status {}: {}", answer.status, answer.body.trim());
        }
        write_result(None, format!("{}\n", answer.body.trim()).as_bytes())
    }
}
