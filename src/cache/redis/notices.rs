//! What a replica hears of purges: a subscription that is made again for ever, and what was missed meanwhile.
//!
//! Invariant: a replica never believes that it has heard everything when it has not. Every beat compares the newest epoch
//! with the last one heard; a connection that does not answer is given up within two seconds, and that is said.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Tier;
use super::keys;
use super::ledger::{Ledger, Rule};
use super::link::Failure;
use crate::cache::ledger::is_far_ahead;

/// Notices that may wait for their reader.
const NOTICES: usize = 1_024;
/// How often the connection and the newest epoch are asked for.
const BEAT: Duration = Duration::from_millis(500);
/// A connection that does not answer for so long is given up.
const HUNG: Duration = Duration::from_secs(1);
/// One attempt to subscribe.
const CONNECT: Duration = Duration::from_secs(5);
/// Pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// What there is to know of purges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// From here on every rule is heard; these are all that are in the ledger. Comes first, after each [`Notice::Lost`],
    /// and when the ledger itself was lost.
    Connected(Ledger),
    /// A rule came into force.
    Rule(Rule),
    /// From here on rules may be missed, until connected again.
    Lost,
}

/// Why a subscription ended.
enum End {
    /// Nobody reads the notices any more, or the tier is gone.
    Unwanted,
    /// The connection failed.
    Failed,
}

impl From<Failure> for End {
    fn from(_: Failure) -> Self {
        Self::Failed
    }
}

/// What was heard so far.
struct Ear {
    tier: Weak<Tier>,
    notices: mpsc::Sender<Notice>,
    id: String,
    epoch: u64,
}

impl Tier {
    /// Starts to listen for purges, until the receiver or the tier is dropped. A replica listens once.
    pub fn notices(self: &std::sync::Arc<Self>) -> mpsc::Receiver<Notice> {
        let (sender, receiver) = mpsc::channel(NOTICES);
        let ear = Ear { tier: std::sync::Arc::downgrade(self), notices: sender, id: String::new(), epoch: 0 };
        self.runtime.spawn(ear.listen());
        receiver
    }
}

impl Ear {
    async fn listen(mut self) {
        let mut pause = PAUSES[0];
        for attempt in 0_usize.. {
            let mut connected = false;
            match self.session(attempt, &mut connected).await {
                Err(End::Unwanted) => return,
                Ok(()) | Err(End::Failed) => {}
            }
            if connected {
                pause = PAUSES[0];
                if self.notices.send(Notice::Lost).await.is_err() {
                    return;
                }
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    async fn session(&mut self, attempt: usize, connected: &mut bool) -> Result<(), End> {
        let (mut sink, mut stream) = self.subscribe(attempt).await?;
        // Subscribed first, then known as a listener, then read: no rule falls between.
        self.beat().await?;
        self.connect().await?;
        *connected = true;
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.next() => {
                    let Some(message) = message else { return Err(End::Failed) };
                    let payload = Bytes::copy_from_slice(message.get_payload_bytes());
                    if message.get_channel_name() == keys::ACK {
                        self.answered(&payload)?;
                    } else {
                        self.told(&payload).await?;
                    }
                }
                _ = beats.tick() => {
                    let pong = timeout(HUNG, sink.ping::<redis::Value>()).await;
                    if !matches!(pong, Ok(Ok(_))) {
                        return Err(End::Failed);
                    }
                    let (id, newest) = self.beat().await?;
                    if id != self.id || newest < self.epoch {
                        self.connect().await?;
                    } else if newest > self.epoch {
                        self.catch_up().await?;
                    }
                }
                () = self.notices.closed() => return Err(End::Unwanted),
            }
        }
    }

    async fn subscribe(&self, attempt: usize) -> Result<(PubSubSink, PubSubStream), End> {
        let link = std::sync::Arc::clone(&self.tier()?.link);
        let subscribe = async {
            let mut channel = link.address().subscribe(link.authority(), attempt).await?;
            channel.subscribe(&[keys::PURGE, keys::ACK]).await?;
            Ok::<_, redis::RedisError>(channel.split())
        };
        match timeout(CONNECT, subscribe).await {
            Ok(Ok(halves)) => Ok(halves),
            Ok(Err(_)) | Err(_) => Err(End::Failed),
        }
    }

    async fn beat(&self) -> Result<(String, u64), End> {
        Ok(self.tier()?.beat().await?)
    }

    /// Reads the whole ledger and says so.
    async fn connect(&mut self) -> Result<(), End> {
        let tier = self.tier()?;
        let mut ledger = tier.ledger_since(0).await?;
        if ledger.newest < self.epoch && (ledger.id == self.id || !is_far_ahead(self.epoch)) {
            // Restored from an older copy: its records are back, and rules that were heard are gone for who starts later. Or a
            // new one by a clock that is behind: its purges would be older than what was downloaded after those that were heard.
            tier.ledger_replace(&ledger.id, self.epoch).await?;
            ledger = tier.ledger_since(0).await?;
        }
        drop(tier);
        self.id.clone_from(&ledger.id);
        // An epoch heard of another ledger means nothing in this one.
        self.epoch = ledger.newest;
        self.say(Notice::Connected(ledger)).await
    }

    /// Rules whose messages did not come, or come later and are then known.
    async fn catch_up(&mut self) -> Result<(), End> {
        let ledger = self.tier()?.ledger_since(self.epoch).await?;
        if ledger.id != self.id || ledger.floor > self.epoch {
            return self.connect().await;
        }
        for rule in ledger.rules {
            self.hear(rule).await?;
        }
        // Rules that are not ours are not read again and again.
        self.epoch = self.epoch.max(ledger.newest);
        Ok(())
    }

    /// A message names the rule before it: a Cluster may lose messages between its nodes.
    async fn told(&mut self, payload: &Bytes) -> Result<(), End> {
        let Some(Rule { epoch: before, rule }) = Rule::parse(payload) else { return Ok(()) };
        let told = Rule::parse(&rule).and_then(|rule| Some(self.tier().ok()?.proved(rule)));
        match told {
            // The ledger knows nothing of it.
            Some(None) => Ok(()),
            Some(Some(rule)) if before <= self.epoch && !is_far_ahead(rule.epoch) => self.hear(rule).await,
            _ => self.catch_up().await,
        }
    }

    async fn hear(&mut self, rule: Rule) -> Result<(), End> {
        if rule.epoch <= self.epoch {
            return Ok(());
        }
        self.epoch = rule.epoch;
        self.say(Notice::Rule(rule)).await
    }

    fn answered(&self, payload: &Bytes) -> Result<(), End> {
        let answer = Rule::parse(payload).and_then(|answer| {
            let replica = std::str::from_utf8(&answer.rule).ok()?.parse().ok()?;
            Some((answer.epoch, replica))
        });
        if let Some(answer) = answer {
            // An error means that nobody waits for answers now.
            let _nobody_waits = self.tier()?.answers.send(answer);
        }
        Ok(())
    }

    async fn say(&self, notice: Notice) -> Result<(), End> {
        self.notices.send(notice).await.map_err(|_| End::Unwanted)
    }

    /// Not held while waiting, so that the tier can be dropped.
    fn tier(&self) -> Result<std::sync::Arc<Tier>, End> {
        self.tier.upgrade().ok_or(End::Unwanted)
    }
}
