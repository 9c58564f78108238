//! What is done to the cache from outside: purges, here and on every replica, and better variants for what is asked for again.
//!
//! Invariant: when a purge has been answered, no replica that listens serves the old image; one that was cut off serves
//! nothing old once it is back. A purge that Redis did not take is in force here at once and is handed on when Redis is
//! back.

pub mod refine;
pub mod tidy;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep};

use crate::cache::ledger::{Ledger, Purge, Scope};
use crate::cache::redis::{Appended, Notice, Rule, Tier};
use crate::source::webhook::Webhook;
use crate::source::{LivePolicy, Refusal, SourcePolicy};
use crate::store::{self, Recorder};
use crate::telemetry::{KindLabels, Label, Metrics, Secret, SecretUrl};

/// How long a purge waits for the replicas to have done it.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);
/// Pause between attempts to acknowledge one.
const ACKNOWLEDGE_AGAIN: Duration = Duration::from_millis(100);
/// How often it is tried to hand on what Redis did not take.
const RETRY: Duration = Duration::from_secs(1);
/// Tries after which it is said that nothing can be heard of a Redis that answers.
const UNHEARD: u32 = 10;
/// Purges that may wait for Redis; beyond it, they become one of everything.
const MAX_UNSENT: usize = 1_000;

/// The `[purge]` section, without what is about response fields.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Told of every purge.
    pub webhook: Option<SecretUrl>,
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
    /// Whether the old image may be served while it is refreshed.
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

/// Where a purge is in force.
struct Done {
    replicas: usize,
    acknowledged: usize,
    shared: bool,
    /// Since when.
    at: SystemTime,
}

/// The parts of [`Maintenance`].
pub struct Parts {
    /// Normalises what is purged as it normalises what is asked for.
    pub policy: Arc<LivePolicy>,
    /// Purges in force here.
    pub ledger: Arc<Ledger>,
    /// The tier that replicas share.
    pub shared: Option<Arc<Tier>>,
    /// Set while purges of other replicas are heard.
    pub hearing: Arc<AtomicBool>,
    /// Writes purges down for who starts later.
    pub recorder: Option<Arc<Recorder>>,
    /// Who else is told.
    pub webhook: Option<Webhook>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Where it listens and tells.
    pub runtime: Handle,
}

/// See the module's text.
pub struct Maintenance {
    policy: Arc<LivePolicy>,
    ledger: Arc<Ledger>,
    shared: Option<Arc<Tier>>,
    hearing: Arc<AtomicBool>,
    recorder: Option<Arc<Recorder>>,
    webhook: Option<Arc<Webhook>>,
    metrics: Arc<Metrics>,
    runtime: Handle,
    /// Purges in force here that Redis has not taken.
    unsent: Mutex<Vec<Purge>>,
}

impl Maintenance {
    /// Puts the parts together and begins to listen for purges of other replicas.
    pub fn start(parts: Parts) -> Arc<Self> {
        let Parts { policy, ledger, shared, hearing, recorder, webhook, metrics, runtime } = parts;
        let webhook = webhook.map(Arc::new);
        let unsent = Mutex::default();
        let this = Arc::new(Self { policy, ledger, shared, hearing, recorder, webhook, metrics, runtime, unsent });
        if let Some(tier) = &this.shared {
            let (acknowledged, newest) = watch::channel(0);
            this.runtime.spawn(acknowledge(Arc::downgrade(tier), newest));
            this.runtime.spawn(listen(Arc::downgrade(&this), tier.notices(), acknowledged));
        }
        this
    }

    /// Waits until purges of other replicas are heard, which is when the shared tier can be used, but not longer than
    /// `wait`; at once where there is none.
    pub async fn connected(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        while self.shared.is_some() && !self.hearing.load(Ordering::Acquire) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Purges, and waits until the replicas that listen have done it, but not longer than two seconds. It is done to its
    /// end also when the caller does not wait.
    ///
    /// # Errors
    /// When the target is no URL, prefix of one, or host.
    pub async fn purge(self: &Arc<Self>, target: &Target, soft: bool) -> Result<Report, Refusal> {
        let scope = match target {
            Target::All => Scope::All,
            Target::Url(text) => Scope::Url(self.policy.key_of(text)?),
            Target::Prefix(text) => Scope::Prefix(self.policy.normalised(text)?),
            Target::Host(text) => Scope::Host(SourcePolicy::normalised_host(text)?),
        };
        let (this, purge) = (Arc::clone(self), Purge { scope, soft });
        let done = self.runtime.spawn(async move { this.carry_out(&purge).await }).await;
        // Lost only when the process ends.
        done.map_err(|_| Refusal::Invalid("the service is stopping"))
    }

    async fn carry_out(&self, purge: &Purge) -> Report {
        let Done { replicas, acknowledged, shared, at } = match &self.shared {
            None => {
                self.ledger.apply(purge, self.ledger.next_epoch());
                Done { replicas: 1, acknowledged: 1, shared: true, at: SystemTime::now() }
            }
            Some(tier) => self.share(tier, purge).await,
        };
        self.write_down(purge, at);
        let (kind, soft, tags) = (purge.scope.kind(), purge.soft, purge.scope.tags());
        self.metrics.purges.get_or_create(&KindLabels { kind: Label(kind) }).inc();
        if let Some(webhook) = &self.webhook {
            let document = serde_json::json!({ "kind": kind, "soft": soft, "tags": &tags }).to_string();
            let webhook = Arc::clone(webhook);
            self.runtime.spawn(async move { webhook.tell(document).await });
        }
        tracing::info!(kind, soft, replicas, acknowledged, shared, "purged");
        Report { kind, soft, tags, replicas, acknowledged, shared }
    }

    async fn share(&self, tier: &Tier, purge: &Purge) -> Done {
        match tier.ledger_append(written(purge), ACKNOWLEDGED_WITHIN).await {
            Ok(appended) => {
                self.ledger.apply(purge, appended.epoch);
                let Appended { replicas, acknowledged, at, .. } = appended;
                Done { replicas: replicas.max(1), acknowledged: acknowledged.max(1), shared: true, at }
            }
            Err(failure) => {
                tracing::warn!(%failure, "a purge is in force here only, until Redis takes it");
                self.ledger.apply(purge, self.ledger.next_epoch());
                let mut unsent = self.unsent();
                if unsent.len() >= MAX_UNSENT {
                    *unsent = vec![everything()];
                } else {
                    unsent.push(purge.clone());
                }
                Done { replicas: 1, acknowledged: 1, shared: false, at: SystemTime::now() }
            }
        }
    }

    fn hear(&self, notice: Notice, heard: &mut Heard) {
        match notice {
            Notice::Rule(rule) => {
                self.apply(&rule);
                heard.epoch = rule.epoch;
            }
            Notice::Connected(ledger) => {
                let another = heard.ledger.as_ref().is_some_and(|known| *known != ledger.id);
                if another && ledger.floor < self.ledger.epoch() {
                    // What was heard is of a clock that was far ahead: by it nothing could be purged any more.
                    self.ledger.begin_again(ledger.floor);
                } else if another || ledger.floor > heard.epoch {
                    // Rules up to there were taken out, or written into a ledger that was lost, before they were heard.
                    self.ledger.apply(&everything(), ledger.floor);
                    if heard.ledger.is_some() {
                        tracing::warn!("purges may have been missed, so what was kept until now is not used");
                    }
                }
                ledger.rules.iter().for_each(|rule| self.apply(rule));
                heard.epoch = ledger.newest;
                heard.ledger = Some(ledger.id);
                if !self.hearing.swap(true, Ordering::AcqRel) {
                    tracing::info!("purges of other replicas are heard, Redis is used");
                }
            }
            Notice::Lost => {
                self.hearing.store(false, Ordering::Release);
                tracing::warn!("purges of other replicas are not heard, so Redis is not used");
            }
        }
    }

    /// Writes a purge down for who starts later without the ledger. Only the replica that was asked does so, and once: what
    /// is read in the ledger at a start is old, and what is distrusted for want of a ledger was purged by nobody. `at` is when
    /// it came into force: a download that ended before may have begun before. Not when the wait for replicas that say
    /// nothing ended: what was fetched again meanwhile is new.
    fn write_down(&self, purge: &Purge, at: SystemTime) {
        let Some(recorder) = &self.recorder else { return };
        let scope = match &purge.scope {
            Scope::All => store::Scope::All,
            Scope::Host(host) => store::Scope::Host(host.clone()),
            Scope::Prefix(prefix) => store::Scope::Prefix(prefix.clone()),
            Scope::Url(key) => store::Scope::Source(*key),
        };
        recorder.purge(store::Purge { scope, soft: purge.soft, at });
    }

    fn apply(&self, rule: &Rule) {
        match serde_json::from_slice(&rule.rule) {
            Ok(purge) => self.ledger.apply(&purge, rule.epoch),
            Err(error) => {
                // Of a newer version, perhaps: it purges something, so everything is purged.
                tracing::warn!(%error, epoch = rule.epoch, "a purge that cannot be read purges everything");
                self.ledger.apply(&everything(), rule.epoch);
            }
        }
    }

    /// Hands on what Redis did not take before; what it does not take now stays.
    async fn send_on(&self, tier: &Tier) {
        let waiting = std::mem::take(&mut *self.unsent());
        for purge in waiting {
            // Nobody waits for this one to be done everywhere.
            match tier.ledger_append(written(&purge), Duration::ZERO).await {
                Ok(appended) => self.ledger.apply(&purge, appended.epoch),
                Err(_) => self.unsent().push(purge),
            }
        }
    }

    fn unsent(&self) -> MutexGuard<'_, Vec<Purge>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn everything() -> Purge {
    Purge { scope: Scope::All, soft: false }
}

/// Hears of purges, and hands on what could not be told, until its service is gone.
async fn listen(service: Weak<Maintenance>, mut notices: mpsc::Receiver<Notice>, acknowledged: watch::Sender<u64>) {
    let mut heard = Heard::default();
    let mut retries = interval(RETRY);
    let mut unheard = 0_u32;
    loop {
        tokio::select! {
            notice = notices.recv() => {
                let (Some(notice), Some(this)) = (notice, service.upgrade()) else { return };
                this.hear(notice, &mut heard);
                acknowledged.send_replace(heard.epoch);
            }
            _ = retries.tick() => {
                let Some(this) = service.upgrade() else { return };
                let Some(tier) = this.shared.clone() else { return };
                let hearing = this.hearing.load(Ordering::Acquire);
                unheard = if hearing || !tier.is_up() { 0 } else { unheard.saturating_add(1) };
                if unheard == UNHEARD {
                    tracing::warn!("Redis answers but cannot be listened to (is SUBSCRIBE allowed?), so it is not used");
                }
                if hearing {
                    this.send_on(&tier).await;
                }
            }
        }
    }
}

/// Tells that purges are done here; whoever asked for one waits for that, so it is not left at one attempt. Only the
/// newest is told: it stands for all before it.
async fn acknowledge(tier: Weak<Tier>, mut newest: watch::Receiver<u64>) {
    while newest.changed().await.is_ok() {
        loop {
            let epoch = *newest.borrow_and_update();
            let Some(tier) = tier.upgrade() else { return };
            if epoch == 0 || tier.acknowledge(epoch).await {
                break;
            }
            drop(tier);
            sleep(ACKNOWLEDGE_AGAIN).await;
        }
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
