//! Turns at the origins: so many downloads at once in all, and so many from one host.
//!
//! Invariant: **a host that is slow or down takes away its own turns and nobody else's**. Who would wait too long is told so
//! at once; a host that cannot be connected to again and again is left alone for a while, longer each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::source::{Error as Fault, Failed, Phase, Turns};

/// Hosts that are remembered when nothing is asked of them.
const KNOWN: usize = 1_024;
/// Failures one after the other before a host is left alone.
const PATIENCE: u32 = 5;
/// For how long at first, and at most.
const QUIET: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// What a download is taken to last before one has been seen.
const USUAL: Duration = Duration::from_millis(200);

/// Why there is no turn.
pub(super) enum NoTurn {
    /// Too many wait already; this is how long the next one would.
    Busy(Duration),
    /// The host has failed again and again.
    LeftAlone(Failed),
}

struct Host {
    slots: Arc<Semaphore>,
    state: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    waiting: u32,
    /// A moving average of what downloads last.
    lasts: Option<Duration>,
    /// One after the other.
    failures: u32,
    left_alone: Option<(Instant, Fault)>,
}

/// A turn, which ends when this is dropped.
pub(super) struct Turn {
    host: Arc<Host>,
    began: Instant,
    _of_host: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

pub(super) struct Origins {
    turns: Turns,
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// Counts who waits, also when he leaves.
struct Waiting<'a>(&'a Host);

impl<'a> Waiting<'a> {
    fn at(host: &'a Host) -> Self {
        host.health().waiting += 1;
        Self(host)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.health().waiting -= 1;
    }
}

impl Host {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origins {
    pub(super) fn new(turns: Turns) -> Self {
        Self { turns, all: Arc::new(Semaphore::new(turns.all)), hosts: Mutex::default() }
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= KNOWN {
            // Nothing is asked of them, and nothing is to be kept in mind.
            let now = Instant::now();
            let is_left_alone = |host: &Host| host.health().left_alone.as_ref().is_some_and(|(until, _)| now < *until);
            hosts.retain(|_, host| Arc::strong_count(host) > 1 || is_left_alone(host));
        }
        let host = Host { slots: Arc::new(Semaphore::new(self.turns.per_host)), state: Mutex::default() };
        let host = Arc::new(host);
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }

    /// Waits for a turn at the host `name`.
    pub(super) async fn turn(&self, name: &str) -> Result<Turn, NoTurn> {
        let now = Instant::now();
        let host = self.host(name);
        let ahead = {
            let mut health = host.health();
            if let Some((until, fault)) = &health.left_alone {
                if now < *until {
                    let failed = Failed { retry_at: Some((*until).into_std()), ..fault.clone().into() };
                    return Err(NoTurn::LeftAlone(failed));
                }
                // One tries; the others wait for what comes of it.
                let next = (now + QUIET[0], fault.clone());
                health.left_alone = Some(next);
            }
            let free = host.slots.available_permits() > 0;
            let lasts = health.lasts.unwrap_or(USUAL);
            if free { Duration::ZERO } else { lasts * (health.waiting + 1) / self.turns.per_host.max(1) as u32 }
        };
        if ahead > self.turns.wait {
            return Err(NoTurn::Busy(ahead));
        }
        let until = now + self.turns.wait;
        let waiting = Waiting::at(&host);
        let slot = |slots: &Arc<Semaphore>| timeout_at(until, Arc::clone(slots).acquire_owned());
        // The host's first: then of each host only so many wait for the others.
        let busy = |_| NoTurn::Busy(ahead.max(USUAL));
        let of_host = slot(&host.slots).await.map_err(busy)?.map_err(|_closed| NoTurn::Busy(ahead))?;
        let of_all = slot(&self.all).await.map_err(busy)?.map_err(|_closed| NoTurn::Busy(ahead))?;
        drop(waiting);
        Ok(Turn { began: Instant::now(), host, _of_host: of_host, _of_all: of_all })
    }
}

impl Turn {
    /// Notes how it went: `fault` where the host, or the way to it, failed.
    pub(super) fn ended(&self, fault: Option<&Fault>) {
        let now = Instant::now();
        let mut health = self.host.health();
        let took = now - self.began;
        health.lasts = Some(health.lasts.map_or(took, |before| (before * 7 + took) / 8));
        // A host that can be connected to is there: one slow URL says nothing of the others, and has but its turn.
        let down = fault
            .filter(|fault| matches!(fault, Fault::Dns | Fault::Connect | Fault::Tls | Fault::Timeout(Phase::Connect)));
        let Some(fault) = down else {
            (health.failures, health.left_alone) = (0, None);
            return;
        };
        health.failures += 1;
        if let Some(more) = health.failures.checked_sub(PATIENCE) {
            let quiet = (QUIET[0] * (1 << more.min(8))).min(QUIET[1]);
            health.left_alone = Some((now + quiet, fault.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: Turns = Turns { all: 3, per_host: 2, wait: Duration::from_secs(5) };

    #[tokio::test(start_paused = true)]
    async fn one_host_takes_its_own_turns_only() {
        let origins = Origins::new(TURNS);
        let first = origins.turn("slow").await.ok().unwrap();
        let _second = origins.turn("slow").await.ok().unwrap();
        assert!(matches!(origins.turn("slow").await, Err(NoTurn::Busy(_))), "after the wait");
        let third = origins.turn("other").await.ok().unwrap();
        drop(third);
        drop(first);
        assert!(origins.turn("slow").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once() {
        let origins = Origins::new(TURNS);
        let turn = origins.turn("slow").await.ok().unwrap();
        tokio::time::advance(Duration::from_secs(20)).await;
        turn.ended(None);
        let _other = origins.turn("slow").await.ok().unwrap();
        let before = Instant::now();
        assert!(matches!(origins.turn("slow").await, Err(NoTurn::Busy(wait)) if wait > TURNS.wait));
        assert_eq!(before, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_down_is_left_alone_longer_and_longer_and_tried_by_one() {
        let origins = Origins::new(TURNS);
        for _ in 0..PATIENCE {
            origins.turn("down").await.ok().unwrap().ended(Some(&Fault::Connect));
        }
        assert!(matches!(origins.turn("down").await, Err(NoTurn::LeftAlone(failed)) if failed.error == Fault::Connect));
        assert!(origins.turn("other").await.is_ok());
        tokio::time::advance(QUIET[0]).await;
        let trial = origins.turn("down").await.ok().unwrap();
        assert!(matches!(origins.turn("down").await, Err(NoTurn::LeftAlone(_))), "one tries");
        trial.ended(Some(&Fault::Connect));
        drop(trial);
        tokio::time::advance(QUIET[0]).await;
        assert!(matches!(origins.turn("down").await, Err(NoTurn::LeftAlone(_))), "longer");
        tokio::time::advance(QUIET[0]).await;
        // It is there, if slow.
        origins.turn("down").await.ok().unwrap().ended(Some(&Fault::Timeout(Phase::Total)));
        assert!(origins.turn("down").await.is_ok());
    }
}
