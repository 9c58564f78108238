//! The threads of the pool, what waits for them, and the memory that is reserved.
//!
//! Invariant: one lock around plain counters and queues, held for moments; whoever frees memory or a thread wakes who waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::pace::Pace;
use super::{Deserted, Error, Settings};
use crate::allocator;
use crate::telemetry::Metrics;

/// How far render threads stand back behind those that answer hits (`nice`), and the one that does what nobody waits for.
const NICE: i32 = 10;
const NICE_BEHIND: i32 = 19;
/// How long a thread whose job left work behind waits for that work before it begins something else.
const REST: Duration = Duration::from_millis(1);
/// How long the pool rests before it gives memory back.
const IDLE: Duration = Duration::from_secs(2);

/// Where a job waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// In order of arrival, within the bound.
    Asked,
    /// Before those, the heaviest first: what ends only when it is done holds memory.
    Begun {
        /// What comes first.
        weight: u64,
    },
    /// When there is nothing else.
    Behind,
}

pub(super) type Work = Box<dyn FnOnce(Reservation) + Send>;

pub(super) struct Job {
    pub(super) cost: u64,
    /// Whose source it is of, hashed.
    pub(super) host: u64,
    /// Whether it is what somebody asked for, and not what follows of that.
    pub(super) asked: bool,
    /// Whether what it keeps in memory waits for its end.
    pub(super) leads: bool,
    /// Set by whoever gives up first: the waiter (then the job never starts) or the worker that starts it.
    pub(super) claimed: Arc<AtomicBool>,
    /// Whether nobody waits for what comes of it.
    pub(super) deserted: Option<Deserted>,
    pub(super) work: Work,
}

impl Job {
    /// Whether its waiter gave up; or everybody left, and there is other work (`contended`).
    pub(super) fn is_given_up(&self, contended: bool) -> bool {
        self.claimed.load(Ordering::Acquire) || contended && self.deserted.as_ref().is_some_and(|deserted| deserted())
    }
}

/// Memory of the budget, given back when this is dropped.
pub struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reservation {
    /// Gives back what is more than `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.shared.give_back(surplus);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.give_back(self.bytes);
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// All are woken: the thread behind sleeps here too.
    wake: Condvar,
    threads: usize,
    pub(super) settings: Settings,
    pub(super) metrics: Arc<Metrics>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) asked: Asked,
    begun: Vec<(u64, Job)>,
    pub(super) behind: VecDeque<Job>,
    pub(super) memory: u64,
    running: usize,
    /// Threads that shall end after their job, because they were replaced while it was stuck.
    pub(super) surplus: usize,
    closing: bool,
    worked: bool,
    pace: Pace,
}

impl State {
    fn is_at_rest(&self) -> bool {
        self.running == 0 && self.asked.is_empty() && self.begun.is_empty()
    }

    /// The next job for a render thread, once its memory fits. What was begun goes first, and when nothing runs it needs
    /// no room: only by ending does it give back what it holds. A job larger than the whole budget runs alone.
    fn take(&mut self, budget: u64) -> Option<Job> {
        let (memory, nothing_runs) = (self.memory, self.running == 0);
        let fits = |job: &Job| memory.saturating_add(job.cost) <= budget;
        match self.begun.last() {
            Some((_, job)) if nothing_runs || fits(job) => self.begun.pop().map(|(_, job)| job),
            Some(_) => None,
            // One larger than all there is, which its estimate refuses, would run alone.
            None => self.asked.take(|job| memory == 0 || fits(job), Instant::now()),
        }
    }

    /// Jobs whose waiters gave up. To be dropped without the lock: they may hold memory, which is given back under it.
    fn given_up(&mut self) -> Vec<Job> {
        let mut gone = Vec::new();
        let is_given_up = |job: &Job| job.is_given_up(false);
        if self.begun.iter().any(|(_, job)| is_given_up(job)) {
            let (given_up, wanted) = std::mem::take(&mut self.begun).into_iter().partition(|(_, job)| is_given_up(job));
            self.begun = wanted;
            gone.extend(Vec::into_iter(given_up).map(|(_, job)| job));
        }
        gone.extend(self.asked.given_up());
        gone
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, threads: usize, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), threads, settings, metrics }
    }

    /// The state is plain counters and queues, valid after every statement, so a poisoned lock is still good.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_all();
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let state = self.lock();
        state.asked.len() + state.begun.len()
    }

    /// What a job of `host` that is asked for now would wait.
    fn predicted_wait(&self, state: &State, host: u64) -> Duration {
        state.pace.wait(state.asked.ahead_of(host) + state.begun.len(), self.threads)
    }

    /// The same for whoever comes after all others.
    pub(super) fn longest_wait(&self) -> Duration {
        let state = self.lock();
        state.pace.wait(state.asked.len() + state.begun.len(), self.threads)
    }

    pub(super) fn submit(&self, lane: Lane, job: Job) -> Result<(), Error> {
        let mut state = self.lock();
        match lane {
            Lane::Asked if self.predicted_wait(&state, job.host) > self.settings.queue_wait => {
                drop(state);
                self.metrics.count_shed("wait");
                return Err(Error::Overloaded);
            }
            Lane::Asked => {
                if state.asked.len() >= self.settings.queue {
                    // Jobs whose waiters gave up still lie in the queue; they go before anyone is refused.
                    let gone = state.given_up();
                    drop(state);
                    drop(gone);
                    state = self.lock();
                }
                if state.asked.len() >= self.settings.queue {
                    drop(state);
                    self.metrics.count_shed("queue");
                    return Err(Error::Overloaded);
                }
                state.asked.push(job, Instant::now());
            }
            Lane::Begun { weight } => {
                let at = state.begun.partition_point(|(other, _)| *other < weight);
                state.begun.insert(at, (weight, job));
            }
            Lane::Behind => state.behind.push_back(job),
        }
        self.report(&state);
        drop(state);
        self.wake.notify_all();
        Ok(())
    }

    fn report(&self, state: &State) {
        self.metrics.queue_depth.set((state.asked.len() + state.begun.len() + state.running) as i64);
        self.metrics.decode_bytes.set(i64::try_from(state.memory).unwrap_or(i64::MAX));
    }

    fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.memory -= bytes;
        self.report(&state);
        drop(state);
        self.wake.notify_all();
    }

    /// A stuck thread cannot be stopped, only be made up for; its memory stays counted until it ends.
    pub(super) fn replace_stuck_worker(self: &Arc<Self>) {
        self.lock().surplus += 1;
        if let Err(error) = self.spawn_worker() {
            self.lock().surplus -= 1;
            tracing::error!(%error, "no thread to replace one that is stuck in a render");
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State, cost: u64) -> Reservation {
        state.memory += cost;
        state.worked = true;
        self.report(state);
        Reservation { shared: Arc::clone(self), bytes: cost }
    }

    /// The next job of a render thread, with its memory.
    fn next(self: &Arc<Self>) -> Option<(Job, Reservation)> {
        let mut state = self.lock();
        loop {
            let gone = state.given_up();
            if !gone.is_empty() {
                drop(state);
                drop(gone);
                state = self.lock();
                continue;
            }
            if let Some(job) = state.take(self.settings.render_memory()) {
                if job.claimed.swap(true, Ordering::AcqRel) {
                    drop(state);
                    drop(job);
                    state = self.lock();
                    continue;
                }
                state.running += 1;
                let held = self.begin(&mut state, job.cost);
                return Some((job, held));
            }
            if state.closing && state.asked.is_empty() && state.begun.is_empty() {
                return None;
            }
            let (woken, timeout) = self.wake.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.is_at_rest() && state.behind.is_empty() && state.worked {
                state.worked = false;
                drop(state);
                allocator::trim();
                state = self.lock();
            }
        }
    }

    /// The next job behind, once nothing else is to be done and its memory fits.
    fn next_behind(self: &Arc<Self>) -> Option<(Job, Reservation)> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let spare = self.settings.spare_memory().saturating_sub(state.memory);
            let may = state.is_at_rest() && state.behind.front().is_some_and(|job| job.cost <= spare);
            if let Some(job) = may.then(|| state.behind.pop_front()).flatten() {
                let held = self.begin(&mut state, job.cost);
                return Some((job, held));
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What was begun a moment ago is on its way back here, through a task of its client's: to begin something else in
    /// that moment would double what is held in memory and the time until the first is done.
    fn wait_for_the_rest(&self) {
        let state = self.lock();
        let nothing = |state: &mut State| state.begun.is_empty() && !state.closing;
        let _woken = self.wake.wait_timeout_while(state, REST, nothing).unwrap_or_else(PoisonError::into_inner);
    }

    /// Whether the worker goes on after its job, which took this long and was one that somebody asked for (`asked`) or what
    /// follows of one.
    fn finish(&self, took: Duration, asked: bool) -> bool {
        let mut state = self.lock();
        state.running -= 1;
        state.pace.note(took, asked);
        let goes_on = state.surplus == 0;
        state.surplus = state.surplus.saturating_sub(1);
        self.report(&state);
        drop(state);
        self.wake.notify_all();
        goes_on
    }

    pub(super) fn spawn_worker(self: &Arc<Self>) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        thread::Builder::new().name("pixgate-render".into()).spawn(move || {
            stand_back(NICE);
            while let Some((job, held)) = shared.next() {
                let (leads, asked, began) = (job.leads, job.asked, Instant::now());
                (job.work)(held);
                let took = began.elapsed();
                if leads {
                    shared.wait_for_the_rest();
                }
                if !shared.finish(took, asked) {
                    return;
                }
            }
        })?;
        Ok(())
    }

    pub(super) fn spawn_behind(self: &Arc<Self>) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        thread::Builder::new().name("pixgate-behind".into()).spawn(move || {
            stand_back(NICE_BEHIND);
            while let Some((job, held)) = shared.next_behind() {
                (job.work)(held);
            }
        })?;
        Ok(())
    }
}

/// On Linux this changes the calling thread alone. Refused in some sandboxes; then priorities are equal.
fn stand_back(nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "render threads keep normal priority");
    }
}
