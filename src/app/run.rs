//! Running and ending: what signals mean, and the order in which things stop.
//!
//! Invariant: who was told that this replica is ready hears that it is not before it refuses anything; what was begun is
//! finished within the grace period; a second signal ends the process at once.

use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::time::Duration;

use actix_web::dev;
use anyhow::Context as _;
use futures_util::future;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::App;
use crate::config::Mode;

/// How long the metadata store may take for what is left at the end.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// The same, when somebody is in a hurry.
const HURRIED_WRITES: Duration = Duration::from_millis(500);
/// How long a start waits for Redis, where there is one.
const REDIS_FIRST: Duration = Duration::from_millis(500);

/// How often files that are followed are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The signals that the process hears, from the moment this exists.
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    /// Whether the last of them means that somebody closed the terminal, and not that something is to be read again.
    hangup_ends: bool,
}

/// What the process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    End(End),
    /// SIGHUP: read the configuration again.
    Reload,
}

/// What asked the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGTERM: an orchestrator, which tells load balancers at the same time.
    Terminate,
    /// SIGINT: somebody at a keyboard, who waits. A closed terminal too.
    Interrupt,
}

impl Signals {
    pub(super) fn listen(mode: Mode) -> io::Result<Self> {
        // A file that may not grow is a write that fails, as on a full disk, and not the end of the process.
        let _heard = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            hangup_ends: mode == Mode::Demo || mode == Mode::Development && io::stdin().is_terminal(),
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End(End::Terminate),
            _ = self.interrupt.recv() => Told::End(End::Interrupt),
            _ = self.hangup.recv() => if self.hangup_ends { Told::End(End::Interrupt) } else { Told::Reload },
        }
    }

    async fn end(&mut self) -> End {
        loop {
            if let Told::End(end) = self.next().await {
                return end;
            }
        }
    }
}

impl App {
    /// Serves until SIGTERM or SIGINT, then drains, closes the listeners, and finishes what is in flight within the grace
    /// period.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { public, admin, servers, state, mut signals, mut reload } = self;
        tracing::info!(public = %public, admin = %admin, "serving");
        // What replicas before us made lies in Redis; the first requests wait for it a moment rather than make it again.
        state.maintenance.connected(REDIS_FIRST).await;
        let handles: Vec<_> = servers.iter().map(dev::Server::handle).collect();
        let mut all = pin!(future::try_join_all(servers));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                ended = &mut all => return failed(ended),
                told = signals.next() => match told {
                    Told::End(end) => break end,
                    Told::Reload => reload.run(&state),
                },
                _ = looks.tick(), if reload.watches() => if reload.is_due() { reload.run(&state) },
            }
        };
        let (grace, delay) = {
            let settings = &state.live().settings;
            // On a keyboard nobody waits for load balancers.
            let delay = if end == End::Terminate { settings.drain_delay } else { Duration::ZERO };
            (settings.shutdown_grace, delay)
        };
        tracing::info!(signal = ?end, ?delay, ?grace, "not ready any more; finishing what is in flight");
        state.drain();
        let mut hurried = tokio::select! {
            ended = &mut all => return failed(ended),
            () = sleep(delay) => false,
            _ = signals.end() => true,
        };
        if !hurried {
            // All at once: a server takes the order to stop only while it is polled.
            let stops = future::join_all(handles.iter().map(|handle| handle.stop(true)));
            hurried = tokio::select! {
                (ended, _) = future::join(all, stops) => {
                    ended.context("a listener failed while it stopped")?;
                    false
                }
                _ = signals.end() => true,
            };
        }
        if hurried {
            tracing::warn!("told again: ending at once");
        }
        let writes = if hurried { HURRIED_WRITES } else { LAST_WRITES };
        let until = Instant::now() + writes;
        if let Some(recorder) = &state.recorder {
            recorder.shutdown(until).await;
        }
        if let Some(store) = &state.store {
            // A server that hangs closes nothing; the process ends all the same.
            let _closed = timeout_at(until, store.close()).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Listeners that end by themselves have failed.
fn failed(ended: io::Result<Vec<()>>) -> anyhow::Result<()> {
    ended.context("a listener failed")?;
    anyhow::bail!("the listeners ended without being told to")
}
