//! CPU work: threads of its own at lower priority, admission by memory and a bounded queue, deadlines, caught panics.
//!
//! Invariant: nothing here runs on an async thread, and no job can take the pool with it. A job that panics is an error
//! for its own request; one that outlives its deadline is abandoned, counted, and its thread replaced. Three lanes: what
//! is asked for, hosts in turn; before it, what was begun and holds memory; behind both, what nobody waits for.

mod asked;
mod pace;
mod pool;

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

pub use self::pool::Reservation;
use self::pool::{Job, Lane, Shared, Work};
use crate::telemetry::Metrics;

/// The `[limits]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that render; 0 means one a core.
    pub render_threads: usize,
    /// Budget for the estimated memory of what is downloaded, decoded and encoded at once, in bytes.
    pub decode_memory: u64,
    /// Of that, what bodies of sources may take.
    pub body_memory: u64,
    /// Of that, what decoded images may take that are kept for the page that is about to request them.
    pub kept_memory: u64,
    /// Renders that may wait; one more is refused.
    pub queue: usize,
    /// Who would wait longer for a thread is refused.
    pub queue_wait: Duration,
    /// From asking for CPU to having the result.
    pub render_timeout: Duration,
}

/// Tells whether all who waited for work have left.
pub type Deserted = Arc<dyn Fn() -> bool + Send + Sync>;

/// Whose work it is, and whether anybody waits for it.
#[derive(Clone)]
pub struct Whose {
    host: u64,
    deserted: Option<Deserted>,
}

impl Whose {
    /// Of a source at `host`. Work that is deserted is dropped before it begins where there is other work; without a way to
    /// tell, somebody always waits.
    pub fn of(host: &str, deserted: Option<Deserted>) -> Self {
        Self { host: BuildHasherDefault::<DefaultHasher>::default().hash_one(host), deserted }
    }

    /// Whether all who waited have left.
    pub fn is_deserted(&self) -> bool {
        self.deserted.as_ref().is_some_and(|deserted| deserted())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            render_threads: 0,
            decode_memory: 512_000_000,
            body_memory: 64_000_000,
            kept_memory: 32_000_000,
            queue: 1_024,
            queue_wait: Duration::from_secs(5),
            render_timeout: Duration::from_secs(15),
        }
    }
}

impl Settings {
    /// Shares the budget out: an eighth for bodies, though room for one of `max_bytes` where that is at most a quarter, a
    /// sixteenth for what is kept, and the rest for renders.
    pub fn share_out(&mut self, max_bytes: u64) {
        let (eighth, quarter) = (self.decode_memory / 8, self.decode_memory / 4);
        self.body_memory = max_bytes.clamp(eighth, quarter);
        self.kept_memory = self.decode_memory / 16;
    }

    /// What renders may take, in bytes.
    pub const fn render_memory(&self) -> u64 {
        self.decode_memory - self.body_memory - self.kept_memory
    }

    /// The most that work in the background may take, in bytes: as much again stays free for what is asked for.
    pub const fn spare_memory(&self) -> u64 {
        self.render_memory() / 2
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
    /// Nobody waited for the job any more, so that it never began.
    #[error("nobody waited for the render any more")]
    Abandoned,
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
        self.0.close();
    }
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
        let shared = Arc::new(Shared::new(settings.clone(), threads, metrics));
        let alive = Arc::new(Alive(Arc::clone(&shared)));
        for _ in 0..threads {
            shared.spawn_worker()?;
        }
        shared.spawn_behind()?;
        Ok(Self { shared, _alive: alive })
    }

    /// The instant by which what is asked for now should be done.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.shared.settings.render_timeout
    }

    /// What decoded images may take that are kept for a moment, in bytes.
    pub fn kept_memory(&self) -> u64 {
        self.shared.settings.kept_memory
    }

    /// The most memory that work in the background may take, in bytes.
    pub fn spare_memory(&self) -> u64 {
        self.shared.settings.spare_memory()
    }

    /// Runs `job` on a render thread, until `deadline`. `cost` is the estimated peak memory of the job in bytes.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full or the job's turn does not come before its deadline,
    /// [`Error::Deadline`] when it runs past it, [`Error::Panicked`] when it panics.
    pub async fn run<T, F>(&self, whose: &Whose, cost: u64, deadline: Instant, job: F) -> Result<Done<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.in_lane(Lane::Asked, Some(whose), false, cost, deadline, |_held| job()).await
    }

    /// Runs the first half of work: `cost` stays reserved for as long as the job's [`Reservation`] is kept.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn begin<T, F>(&self, whose: &Whose, cost: u64, deadline: Instant, job: F) -> Result<Done<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce(Reservation) -> T + Send + 'static,
    {
        self.in_lane(Lane::Asked, Some(whose), true, cost, deadline, job).await
    }

    /// Runs the second half of work whose first half holds memory: before everything that would begin, the heaviest by
    /// `weight` first.
    ///
    /// # Errors
    /// As [`run`](Self::run); the queue is never full for it.
    pub async fn finish<T, F>(&self, weight: u64, cost: u64, deadline: Instant, job: F) -> Result<Done<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.in_lane(Lane::Begun { weight }, None, false, cost, deadline, |_held| job()).await
    }

    /// Runs what nobody waits for: on a thread of its own at the lowest priority, once no other work waits or runs. There
    /// is no limit to the wait; the job is told when it should end, `render_timeout` after it has begun.
    ///
    /// # Errors
    /// [`Error::Panicked`] when it panics.
    pub async fn run_behind<T, F>(&self, cost: u64, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(Instant) -> T + Send + 'static,
    {
        let timeout = self.shared.settings.render_timeout;
        let (reply, result) = oneshot::channel();
        let work: Work = Box::new(move |_held| {
            let value = catch_unwind(AssertUnwindSafe(|| job(Instant::now() + timeout)));
            let _gone = reply.send(value);
        });
        let claimed = Arc::default();
        let job = Job { cost, host: 0, asked: false, leads: false, claimed, deserted: None, work };
        self.shared.submit(Lane::Behind, job)?;
        result.await.map_err(|_dropped| Error::Panicked)?.map_err(|_panic| Error::Panicked)
    }

    async fn in_lane<T, F>(
        &self,
        lane: Lane,
        whose: Option<&Whose>,
        leads: bool,
        cost: u64,
        deadline: Instant,
        job: F,
    ) -> Result<Done<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce(Reservation) -> T + Send + 'static,
    {
        let submitted = Instant::now();
        let (reply, result) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        let work: Work = Box::new(move |held| {
            let waited = submitted.elapsed();
            let value = catch_unwind(AssertUnwindSafe(|| job(held))).map_err(|_| Error::Panicked);
            // The waiter may be gone; then nobody misses the value.
            let _gone = reply.send(value.map(|value| Done { value, waited }));
        });
        let (host, deserted) = whose.map_or((0, None), |whose| (whose.host, whose.deserted.clone()));
        let (asked, claimed_by_worker) = (whose.is_some(), Arc::clone(&claimed));
        let job = Job { cost, host, asked, leads, claimed: claimed_by_worker, deserted, work };
        self.shared.submit(lane, job)?;

        let mut result = result;
        if whose.is_some() {
            // A prediction may be wrong: who has waited as long as anybody may is told so.
            let until = deadline.min(submitted + self.shared.settings.queue_wait);
            let waited = tokio::time::timeout_at(until.into(), &mut result).await;
            if let Ok(done) = waited {
                return self.told(done, &claimed);
            }
            if !claimed.swap(true, Ordering::AcqRel) {
                self.shared.metrics.count_shed("wait");
                return Err(Error::Overloaded);
            }
        }
        match tokio::time::timeout_at(deadline.into(), result).await {
            Ok(done) => self.told(done, &claimed),
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

    fn told<T>(&self, done: Result<Result<Done<T>, Error>, RecvError>, claimed: &AtomicBool) -> Result<Done<T>, Error> {
        match done {
            Ok(done) => done.inspect(|done| self.shared.metrics.observe_stage("queue", done.waited)),
            // Dropped without having been begun.
            Err(_dropped) if !claimed.load(Ordering::Acquire) => Err(Error::Abandoned),
            Err(_dropped) => Err(Error::Panicked),
        }
    }

    /// How long a client should wait before it asks again: what it would wait now, by what jobs have taken so far; between 1
    /// and 30 seconds.
    pub fn retry_after(&self) -> Duration {
        self.shared.longest_wait().clamp(Duration::from_secs(1), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests;
