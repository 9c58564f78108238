//! CPU work: threads of its own at lower priority, admission by memory and a bounded queue, deadlines, caught panics.
//!
//! The law: nothing here runs on an async thread, and no job can take the pool with it. A job that panics is an error
//! for its own request; one that outlives its deadline is abandoned, counted, and its thread replaced.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::allocator;
use crate::telemetry::Metrics;

/// How far render threads stand back behind the threads that answer hits (`nice` value).
const NICE: i32 = 10;
/// How long the pool rests before it gives memory back.
const IDLE: Duration = Duration::from_secs(2);

/// The `[limits]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that render; 0 means one a core.
    pub render_threads: usize,
    /// Budget for the estimated memory of renders that run at once, in bytes.
    pub decode_memory: u64,
    /// Renders that may wait; one more is refused.
    pub queue: usize,
    /// From asking for CPU to having the result.
    pub render_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { render_threads: 0, decode_memory: 512_000_000, queue: 256, render_timeout: Duration::from_secs(15) }
    }
}

/// Why a job gave no result of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue is full, or the job did not get its turn in time.
    #[error("too much work is waiting already")]
    Overloaded,
    /// The job ran past its deadline and was abandoned.
    #[error("the render took longer than its deadline")]
    Deadline,
    /// The job panicked.
    #[error("the render panicked")]
    Panicked,
}

/// A result and how long its job waited for a thread.
#[derive(Debug)]
pub struct Done<T> {
    /// What the job returned.
    pub value: T,
    /// From submission to start.
    pub waited: Duration,
}

/// The pool; cheap to clone. Its threads end when the last clone is gone and the queue is empty.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.wake.notify_all();
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    settings: Settings,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    memory: u64,
    running: usize,
    /// Threads that shall end after their job, because they were replaced while it was stuck.
    surplus: usize,
    closing: bool,
    worked: bool,
}

struct Job {
    cost: u64,
    /// Set by whoever gives up first: the waiter (then the job never starts) or the worker that starts it.
    claimed: Arc<AtomicBool>,
    work: Box<dyn FnOnce() + Send>,
}

impl Scheduler {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let threads = match settings.render_threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            wake: Condvar::new(),
            settings: settings.clone(),
            metrics,
        });
        let alive = Arc::new(Alive(Arc::clone(&shared)));
        for _ in 0..threads {
            spawn_worker(Arc::clone(&shared))?;
        }
        Ok(Self { shared, _alive: alive })
    }

    /// Runs `job` on a render thread. `cost` is the estimated peak memory of the job in bytes; the job gets the
    /// instant by which it should end and looks at it between stages.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full or the job's turn does not come before its deadline,
    /// [`Error::Deadline`] when it runs past it, [`Error::Panicked`] when it panics.
    pub async fn run<T, F>(&self, cost: u64, job: F) -> Result<Done<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce(Instant) -> T + Send + 'static,
    {
        let submitted = Instant::now();
        let deadline = submitted + self.shared.settings.render_timeout;
        let (reply, result) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        let work = Box::new(move || {
            let waited = submitted.elapsed();
            let value = catch_unwind(AssertUnwindSafe(|| job(deadline))).map_err(|_| Error::Panicked);
            // The waiter may be gone; then nobody misses the value.
            let _gone = reply.send(value.map(|value| Done { value, waited }));
        });
        self.shared.submit(Job { cost, claimed: Arc::clone(&claimed), work })?;

        match tokio::time::timeout_at(deadline.into(), result).await {
            Ok(Ok(done)) => done.inspect(|done| self.shared.metrics.observe_stage("queue", done.waited)),
            Ok(Err(_dropped)) => Err(Error::Panicked),
            Err(_elapsed) => {
                self.shared.metrics.count_shed("deadline");
                if claimed.swap(true, Ordering::AcqRel) {
                    self.shared.replace_stuck_worker();
                    Err(Error::Deadline)
                } else {
                    Err(Error::Overloaded)
                }
            }
        }
    }

    /// How long a client should wait before it asks again: what the queue holds now, one job a thread at a time,
    /// at a third of a second each; between 1 and 30 seconds.
    pub fn retry_after(&self) -> Duration {
        let state = self.shared.lock();
        Duration::from_secs((state.queue.len() as u64 / 3).clamp(1, 30))
    }
}

impl Shared {
    /// The state is plain counters and a queue, valid after every statement, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, job: Job) -> Result<(), Error> {
        let mut state = self.lock();
        if state.queue.len() >= self.settings.queue {
            // Jobs whose waiters gave up still lie in the queue; they go before anyone is refused.
            state.queue.retain(|job| !job.claimed.load(Ordering::Acquire));
        }
        if state.queue.len() >= self.settings.queue {
            drop(state);
            self.metrics.count_shed("queue");
            return Err(Error::Overloaded);
        }
        state.queue.push_back(job);
        self.report(&state);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn report(&self, state: &State) {
        self.metrics.queue_depth.set((state.queue.len() + state.running) as i64);
        self.metrics.decode_bytes.set(i64::try_from(state.memory).unwrap_or(i64::MAX));
    }

    /// A stuck thread cannot be stopped, only be made up for; its memory stays counted until it ends.
    fn replace_stuck_worker(self: &Arc<Self>) {
        self.lock().surplus += 1;
        if let Err(error) = spawn_worker(Arc::clone(self)) {
            self.lock().surplus -= 1;
            tracing::error!(%error, "no thread to replace one that is stuck in a render");
        }
    }

    /// The next job in order of arrival, once its memory fits. A job larger than the whole budget runs alone.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            while state.queue.front().is_some_and(|job| job.claimed.load(Ordering::Acquire)) {
                state.queue.pop_front();
            }
            let budget = self.settings.decode_memory;
            let fits = |job: &Job| state.memory == 0 || state.memory.saturating_add(job.cost) <= budget;
            if state.queue.front().is_some_and(fits) {
                // The front is there: the lock has been held since it was seen.
                if let Some(job) = state.queue.pop_front()
                    && !job.claimed.swap(true, Ordering::AcqRel)
                {
                    state.memory += job.cost;
                    state.running += 1;
                    state.worked = true;
                    self.report(&state);
                    return Some(job);
                }
                continue;
            }
            if state.closing && state.queue.is_empty() {
                return None;
            }
            let (woken, timeout) = self.wake.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.running == 0 && state.queue.is_empty() && state.worked {
                state.worked = false;
                drop(state);
                allocator::trim();
                state = self.lock();
            }
        }
    }

    /// Whether the worker goes on after its job.
    fn finish(&self, cost: u64) -> bool {
        let mut state = self.lock();
        state.memory -= cost;
        state.running -= 1;
        let goes_on = state.surplus == 0;
        state.surplus = state.surplus.saturating_sub(1);
        self.report(&state);
        drop(state);
        // All: the freed memory may let the head of the queue start, whoever sleeps.
        self.wake.notify_all();
        goes_on
    }
}

fn spawn_worker(shared: Arc<Shared>) -> std::io::Result<()> {
    thread::Builder::new().name("pixgate-render".into()).spawn(move || {
        // On Linux this changes the calling thread alone. Refused in some sandboxes; then priorities are equal.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "render threads keep normal priority");
        }
        while let Some(job) = shared.next() {
            let cost = job.cost;
            (job.work)();
            if !shared.finish(cost) {
                return;
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
