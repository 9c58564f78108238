//! What operators have done to the cache from outside: purges, here and on every replica.
//!
//! The law: when a purge has been answered, no replica that listens serves the old picture; one that was cut off serves
//! nothing old once it is back. A purge that Redis did not take is in force here at once and is handed on when Redis is
//! back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Handle;
use url::Url;

use crate::cache::CacheTier as _;
use crate::cache::ledger::{Ledger, Purge, Scope};
use crate::cache::redis::{Notice, Rule, Tier};
use crate::source::webhook::Webhook;
use crate::source::{Refusal, SourcePolicy};
use crate::telemetry::{KindLabels, Label, Metrics, Secret};

/// How long a purge waits for the replicas to have done it.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);
/// Attempts to acknowledge one, spread over that time.
const ACKNOWLEDGEMENTS: u32 = 20;
/// Purges that may wait for Redis; beyond it, they become one of everything.
const MAX_UNSENT: usize = 1_000;

/// The `[purge]` section, without what is about response fields.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Told of every purge.
    pub webhook: Option<Url>,
    /// Its bearer token.
    pub webhook_token: Option<Secret>,
}

/// What is to be purged, as its client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One source.
    Url(String),
    /// Every source whose URL begins so.
    Prefix(String),
    /// Every source of a host.
    Host(String),
    /// Every source.
    All,
}

/// What a purge came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `url`, `prefix`, `host` or `all`.
    pub kind: &'static str,
    /// Whether the old picture may be served while it is refreshed.
    pub soft: bool,
    /// Tags that a CDN in front knows the answers by.
    pub tags: Vec<String>,
    /// Replicas that listened of late, this one included.
    pub replicas: usize,
    /// Those of them that have done it by now.
    pub acknowledged: usize,
    /// Whether replicas without connection will hear of it: false while Redis does not take it, which is tried on.
    pub shared: bool,
}

/// The parts of [`Maintenance`].
pub struct Parts {
    /// Normalises what is purged as it normalises what is asked for.
    pub policy: Arc<SourcePolicy>,
    /// Purges in force here.
    pub ledger: Arc<Ledger>,
    /// The tier that replicas share.
    pub shared: Option<Arc<Tier>>,
    /// Set while purges of other replicas are heard.
    pub hearing: Arc<AtomicBool>,
    /// Who else is told.
    pub webhook: Option<Webhook>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Where it listens and tells.
    pub runtime: Handle,
}

/// See the module's text.
pub struct Maintenance {
    policy: Arc<SourcePolicy>,
    ledger: Arc<Ledger>,
    shared: Option<Arc<Tier>>,
    hearing: Arc<AtomicBool>,
    webhook: Option<Arc<Webhook>>,
    metrics: Arc<Metrics>,
    runtime: Handle,
    /// Purges in force here that Redis has not taken.
    unsent: Mutex<Vec<Purge>>,
}

impl Maintenance {
    /// Puts the parts together and begins to listen for purges of other replicas.
    pub fn start(parts: Parts) -> Arc<Self> {
        let Parts { policy, ledger, shared, hearing, webhook, metrics, runtime } = parts;
        let webhook = webhook.map(Arc::new);
        let unsent = Mutex::default();
        let this = Arc::new(Self { policy, ledger, shared, hearing, webhook, metrics, runtime, unsent });
        if let Some(tier) = &this.shared {
            let (tier, ear) = (Arc::clone(tier), Arc::downgrade(&this));
            let mut notices = tier.notices();
            this.runtime.spawn(async move {
                let mut heard = Heard::default();
                while let Some(notice) = notices.recv().await {
                    let Some(this) = ear.upgrade() else { return };
                    this.hear(&tier, notice, &mut heard).await;
                }
            });
        }
        this
    }

    /// Purges, and waits until the replicas that listen have done it, but not longer than two seconds.
    ///
    /// # Errors
    /// When the target is no URL, prefix of one, or host.
    pub async fn purge(&self, target: &Target, soft: bool) -> Result<Report, Refusal> {
        let scope = match target {
            Target::All => Scope::All,
            Target::Url(text) => Scope::Url(self.policy.key_of(text)?),
            Target::Prefix(text) => Scope::Prefix(self.policy.normalised(text)?),
            Target::Host(text) => Scope::Host(SourcePolicy::normalised_host(text)?),
        };
        let purge = Purge { scope, soft };
        let (replicas, acknowledged, shared) = match &self.shared {
            None => {
                self.ledger.apply(&purge, self.ledger.next_epoch(SystemTime::now()));
                (1, 1, true)
            }
            Some(tier) => self.share(tier, &purge).await,
        };
        let kind = purge.scope.kind();
        self.metrics.purges.get_or_create(&KindLabels { kind: Label(kind) }).inc();
        let tags = purge.scope.tags();
        if let Some(webhook) = &self.webhook {
            let document = serde_json::json!({ "kind": kind, "soft": soft, "tags": &tags }).to_string();
            let webhook = Arc::clone(webhook);
            self.runtime.spawn(async move { webhook.tell(document).await });
        }
        tracing::info!(kind, soft, replicas, acknowledged, shared, "purged");
        Ok(Report { kind, soft, tags, replicas, acknowledged, shared })
    }

    async fn share(&self, tier: &Arc<Tier>, purge: &Purge) -> (usize, usize, bool) {
        match tier.ledger_append(written(purge), ACKNOWLEDGED_WITHIN).await {
            Ok(appended) => {
                self.ledger.apply(purge, appended.epoch);
                if let (Scope::Url(key), false) = (&purge.scope, purge.soft) {
                    // Not needed for the purge, which is in force: the record would only lie there.
                    let (tier, key) = (Arc::clone(tier), *key);
                    self.runtime.spawn(async move { tier.forget(key).await });
                }
                (appended.replicas.max(1), appended.acknowledged.max(1), true)
            }
            Err(failure) => {
                tracing::warn!(%failure, "a purge is in force here only, until Redis takes it");
                self.ledger.apply(purge, self.ledger.next_epoch(SystemTime::now()));
                let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
                if unsent.len() >= MAX_UNSENT {
                    *unsent = vec![Purge { scope: Scope::All, soft: false }];
                } else {
                    unsent.push(purge.clone());
                }
                (1, 1, false)
            }
        }
    }

    async fn hear(&self, tier: &Arc<Tier>, notice: Notice, heard: &mut Heard) {
        match notice {
            Notice::Rule(rule) => {
                self.apply(&rule);
                heard.epoch = rule.epoch;
                acknowledge(tier, rule.epoch).await;
            }
            Notice::Connected(ledger) => {
                let everything = Purge { scope: Scope::All, soft: false };
                if heard.ledger.as_ref().is_some_and(|known| *known != ledger.id) {
                    // Another ledger: what was written into the lost one after it was last heard is unknown.
                    self.ledger.apply(&everything, self.ledger.next_epoch(SystemTime::now()));
                } else if ledger.floor > heard.epoch {
                    // Rules up to there were taken out before they were heard here.
                    self.ledger.apply(&everything, ledger.floor);
                }
                ledger.rules.iter().for_each(|rule| self.apply(rule));
                heard.epoch = ledger.rules.last().map_or(ledger.floor, |rule| rule.epoch);
                heard.ledger = Some(ledger.id);
                self.hearing.store(true, Ordering::Release);
                acknowledge(tier, heard.epoch).await;
                self.send_on(tier).await;
            }
            Notice::Lost => self.hearing.store(false, Ordering::Release),
        }
    }

    fn apply(&self, rule: &Rule) {
        match serde_json::from_slice(&rule.rule) {
            Ok(purge) => self.ledger.apply(&purge, rule.epoch),
            Err(error) => {
                // Of a newer version, perhaps: it purges something, so everything is purged.
                tracing::warn!(%error, epoch = rule.epoch, "a purge that cannot be read purges everything");
                self.ledger.apply(&Purge { scope: Scope::All, soft: false }, rule.epoch);
            }
        }
    }

    /// Hands on what Redis did not take before; what it does not take now stays.
    async fn send_on(&self, tier: &Arc<Tier>) {
        let waiting = std::mem::take(&mut *self.unsent.lock().unwrap_or_else(PoisonError::into_inner));
        for purge in waiting {
            // Nobody waits for this one to be done everywhere.
            match tier.ledger_append(written(&purge), Duration::ZERO).await {
                Ok(appended) => self.ledger.apply(&purge, appended.epoch),
                Err(_) => self.unsent.lock().unwrap_or_else(PoisonError::into_inner).push(purge),
            }
        }
    }
}

/// Tells that a purge is done here. Whoever asked for it waits for that, so it is not left at one attempt.
async fn acknowledge(tier: &Tier, epoch: u64) {
    for _ in 0..ACKNOWLEDGEMENTS {
        if tier.acknowledge(epoch).await {
            return;
        }
        tokio::time::sleep(ACKNOWLEDGED_WITHIN / ACKNOWLEDGEMENTS).await;
    }
}

/// How far the shared ledger was heard.
#[derive(Default)]
struct Heard {
    ledger: Option<String>,
    epoch: u64,
}

fn written(purge: &Purge) -> Bytes {
    // Serialising fails for maps with odd keys and for writers; this has neither.
    serde_json::to_vec(purge).unwrap_or_default().into()
}
