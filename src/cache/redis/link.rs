//! The connections to Redis, kept by one task, and the one way through which everything is asked of it.
//!
//! Invariant: nobody waits for a connection. A call has a hard limit; when Redis is away, hung or failing, calls end at once
//! until a trial of the keeper's own has gone well. Each change is one line in the log and a gauge, not a line a call.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::address::{Address, Connection};
use super::breaker::{Breaker, Change, Phase};
use crate::telemetry::Metrics;

/// Both connections, with name look-up, TLS and handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// How often an idle connection is asked whether it lives, and how soon again after it did not answer.
const HEALTH: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(200)];
/// Calls that nobody's answer waits for.
const PATIENT: Duration = Duration::from_secs(1);
/// How often a failing write may say so.
const COMPLAINT: Duration = Duration::from_secs(60);

/// What is asked: label, limit, lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Record and variant at once.
    LookUp,
    /// One value.
    Get,
    /// A value written behind.
    Put,
    /// A value taken out.
    Forget,
    /// Leases.
    Lease,
    /// Purges: tried even when the breaker is open, because nothing can stand in for them.
    Ledger,
}

impl Op {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LookUp => "look_up",
            Self::Get => "get",
            Self::Put => "put",
            Self::Forget => "forget",
            Self::Lease => "lease",
            Self::Ledger => "ledger",
        }
    }

    /// Large values take a connection of their own, so that small questions do not queue behind them.
    const fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Forget)
    }

    /// Whether its end tells if Redis is of use to those who wait.
    const fn is_judged(self) -> bool {
        matches!(self, Self::LookUp | Self::Get | Self::Lease)
    }

    const fn passes_open_breaker(self) -> bool {
        matches!(self, Self::Ledger)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not connected, or left alone because it failed before.
    #[error("Redis is away")]
    Away,
    /// Not within the limit.
    #[error("Redis did not answer in time")]
    Timeout,
    /// The connection broke.
    #[error("the connection to Redis broke: {0}")]
    Lost(#[source] RedisError),
    /// It answered with an error.
    #[error("Redis refused: {0}")]
    Refused(#[source] RedisError),
}

impl Failure {
    fn of(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(error),
            _ => Self::Lost(error),
        }
    }

    /// The error code of an answer, as in `WRONGTYPE`.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) => error.code(),
            _ => None,
        }
    }

    /// Whether whoever asks next will fare no better. Redis lives when it refuses one key or only to write.
    fn is_telling(&self) -> bool {
        !matches!(self.code(), Some("WRONGTYPE" | "OOM" | "NOSCRIPT"))
    }
}

#[derive(Clone)]
struct Lanes {
    read: Connection,
    write: Connection,
}

#[derive(Default)]
struct State {
    lanes: Option<Lanes>,
    /// Counts connections, so that an error of an old one does not end the new one.
    generation: u64,
    breaker: Breaker,
    greeted: bool,
    complained: Option<Instant>,
}

/// See the module's text.
pub(super) struct Link {
    address: Address,
    authority: Option<Vec<u8>>,
    limit: Duration,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    wake: Notify,
}

impl Link {
    pub(super) fn new(address: Address, authority: Option<Vec<u8>>, limit: Duration, metrics: Arc<Metrics>) -> Self {
        Self { address, authority, limit, metrics, state: Mutex::default(), wake: Notify::new() }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether calls are worth a try now.
    pub(super) fn is_up(&self) -> bool {
        let state = self.state();
        state.lanes.is_some() && state.breaker.is_closed()
    }

    /// Does `work` with a connection, within the limit of `op`.
    pub(super) async fn call<T, F>(&self, op: Op, work: impl FnOnce(Connection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (connection, generation) = {
            let state = self.state();
            let passes = state.breaker.is_closed() || op.passes_open_breaker();
            let lanes = state.lanes.as_ref().filter(|_| passes).ok_or(Failure::Away)?;
            (if op.is_write() { lanes.write.clone() } else { lanes.read.clone() }, state.generation)
        };
        let limit = if op.is_judged() { self.limit } else { self.limit.max(PATIENT) };
        let started = Instant::now();
        let result = match timeout(limit, work(connection)).await {
            Ok(result) => result.map_err(Failure::of),
            Err(_) => Err(Failure::Timeout),
        };
        self.metrics.observe_redis(op.as_str(), started.elapsed());
        self.judge(op, generation, result.as_ref().err());
        result
    }

    fn judge(&self, op: Op, generation: u64, failure: Option<&Failure>) {
        let now = Instant::now();
        let mut state = self.state();
        let moved = self.address.may_move() && failure.is_some_and(|failure| failure.code() == Some("READONLY"));
        if (matches!(failure, Some(Failure::Lost(_))) || moved) && state.generation == generation {
            state.lanes = None;
            self.wake.notify_one();
        }
        let change = match failure {
            Some(failure) if op.is_judged() && failure.is_telling() => state.breaker.failed(now, fastrand::f64()),
            Some(_) => None,
            None => {
                if op.is_judged() {
                    state.breaker.succeeded();
                }
                None
            }
        };
        let complains = op.is_write()
            && matches!(failure, Some(Failure::Refused(_)))
            && state.complained.is_none_or(|last| now.duration_since(last) >= COMPLAINT);
        if complains {
            state.complained = Some(now);
        }
        self.publish(&state);
        drop(state);
        if let (true, Some(failure)) = (complains, failure) {
            tracing::warn!(reason = %failure, "Redis takes no writes; what it cannot keep is dropped");
        }
        self.tell(change, failure);
    }

    /// Connects, watches and connects again, for ever; the task is aborted when the tier is dropped.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut pause = HEALTH[0];
        loop {
            let next = {
                let mut state = self.state();
                let now = Instant::now();
                let next = match state.breaker.phase() {
                    Phase::Closed if state.lanes.is_none() => None,
                    Phase::Closed => Some(now + pause),
                    _ if state.breaker.begin_trial(now) => None,
                    Phase::Open { until } => Some(until),
                    Phase::HalfOpen => None,
                };
                self.publish(&state);
                next
            };
            match next {
                None => self.trial().await,
                Some(until) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = sleep_until(until.into()) => pause = self.check_health().await,
                    }
                }
            }
        }
    }

    /// Asks an idle connection whether it lives. A good answer proves little, so it does not undo what calls report.
    async fn check_health(&self) -> Duration {
        let (lanes, generation) = {
            let state = self.state();
            if !state.breaker.is_closed() {
                return HEALTH[0];
            }
            (state.lanes.clone(), state.generation)
        };
        let Some(lanes) = lanes else { return HEALTH[0] };
        match self.ping(lanes).await {
            Ok(()) => HEALTH[0],
            Err(failure) => {
                self.judge(Op::Get, generation, Some(&failure));
                HEALTH[1]
            }
        }
    }

    async fn ping(&self, lanes: Lanes) -> Result<(), Failure> {
        let ping = |mut lane: Connection, limit| async move {
            let command = redis::cmd("PING");
            let pong = timeout(limit, command.query_async::<()>(&mut lane)).await;
            pong.map_err(|_| Failure::Timeout)?.map_err(Failure::of)
        };
        // Among large values an answer may take its time.
        tokio::try_join!(ping(lanes.read, self.limit), ping(lanes.write, self.limit.max(PATIENT))).map(|_| ())
    }

    /// The connections there are, if they answer; else new ones.
    async fn trial(&self) {
        let old = self.state().lanes.clone();
        let mut result = Err(Failure::Away);
        if let Some(lanes) = old {
            result = self.ping(lanes).await;
        }
        if result.is_err() {
            self.state().lanes = None;
            result = self.connect().await;
        }
        let mut state = self.state();
        let (now, jitter) = (Instant::now(), fastrand::f64());
        let change = match (state.breaker.phase(), &result) {
            (Phase::HalfOpen, result) => state.breaker.tried(result.is_ok(), now, jitter),
            (_, Err(_)) => state.breaker.trip(now, jitter),
            (_, Ok(())) => None,
        };
        let first = result.is_ok() && !state.greeted;
        state.greeted |= first;
        self.publish(&state);
        drop(state);
        if first {
            tracing::info!(redis = %self.address, "Redis is connected");
        } else {
            self.tell(change, result.as_ref().err());
        }
    }

    async fn connect(&self) -> Result<(), Failure> {
        let one = || self.address.connect(self.authority.as_deref());
        let connected = match timeout(CONNECT, async { tokio::try_join!(one(), one()) }).await {
            Ok(connected) => connected.map_err(Failure::Lost)?,
            Err(_) => return Err(Failure::Timeout),
        };
        let lanes = Lanes { read: connected.0, write: connected.1 };
        self.ping(lanes.clone()).await?;
        let mut state = self.state();
        state.lanes = Some(lanes);
        state.generation += 1;
        Ok(())
    }

    fn tell(&self, change: Option<Change>, failure: Option<&Failure>) {
        match (change, failure) {
            (Some(Change::Opened), Some(failure)) => {
                tracing::warn!(redis = %self.address, reason = %failure, "Redis is of no use now; going on without it");
            }
            (Some(Change::Closed), _) => tracing::info!(redis = %self.address, "Redis is back"),
            _ => {}
        }
        if change == Some(Change::Opened) {
            self.wake.notify_one();
        }
    }

    fn publish(&self, state: &State) {
        let up = state.lanes.is_some() && state.breaker.is_closed();
        self.metrics.redis_up.set(up);
        self.metrics.redis_breaker.set(state.breaker.phase().gauge());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
