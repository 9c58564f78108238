//! Single flight: equal work asked for at once is done once.
//!
//! The leader's work runs in a detached task, so a caller who gives up loses its wait, not the work. When the work ends,
//! however it ends, its key is free again: a panic cannot block a key for ever.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

/// A result and whether it came from work that another caller had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed<V> {
    /// What the work returned.
    pub value: V,
    /// True for callers who joined.
    pub joined: bool,
}

/// The work ended without a result: it panicked or its runtime is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was lost before it had a result")]
pub struct Lost;

type Pending<K, V> = Arc<Mutex<HashMap<K, (watch::Receiver<Option<V>>, Waiters)>>>;

/// Counts who waits for work.
#[derive(Clone)]
struct Waiters(Arc<watch::Sender<usize>>);

impl Waiters {
    fn one_more(&self) -> Waiter {
        self.0.send_modify(|count| *count += 1);
        Waiter(self.clone())
    }
}

/// Somebody who waits, until this is dropped.
struct Waiter(Waiters);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Whether anybody waits for work, as the work sees it.
#[derive(Clone)]
pub struct Wanted(Option<watch::Receiver<usize>>);

impl Wanted {
    /// Of work that is done for its own sake.
    pub const fn always() -> Self {
        Self(None)
    }

    /// Whether all who waited have left.
    pub fn is_deserted(&self) -> bool {
        self.0.as_ref().is_some_and(|count| *count.borrow() == 0)
    }

    /// Waits until all who waited have left.
    pub async fn deserted(&self) {
        // The sender lives as long as the flight, which is longer than its work.
        let deserted = match self.0.clone() {
            Some(mut count) => count.wait_for(|count| *count == 0).await.is_ok(),
            None => false,
        };
        if !deserted {
            std::future::pending::<()>().await;
        }
    }
}

/// Work in progress by key.
pub struct Flights<K, V> {
    pending: Pending<K, V>,
    runtime: Handle,
}

/// Frees the key when the work's task ends, also by panic or abort.
struct Clearance<K: Eq + Hash, V> {
    key: K,
    pending: Pending<K, V>,
}

impl<K: Eq + Hash, V> Drop for Clearance<K, V> {
    fn drop(&mut self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No work yet; leaders' tasks run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { pending: Arc::default(), runtime }
    }

    /// Waits for the work under `key`, beginning `work` if there is none.
    ///
    /// # Errors
    /// [`Lost`] when the work ended without a result.
    pub async fn join<F>(&self, key: K, work: impl FnOnce(Wanted) -> F) -> Result<Landed<V>, Lost>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (mut receiver, joined, _waiter) = self.board(key, work);
        let value = receiver.wait_for(Option::is_some).await.map_err(|_| Lost)?.clone();
        value.map(|value| Landed { value, joined }).ok_or(Lost)
    }

    /// Begins `work` under `key` unless there is some already, and does not wait.
    pub fn begin<F>(&self, key: K, work: impl FnOnce(Wanted) -> F)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let _detached = self.board(key, |_| work(Wanted::always()));
    }

    /// How many keys have work in progress.
    pub fn len(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is in progress.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn board<F>(&self, key: K, work: impl FnOnce(Wanted) -> F) -> (watch::Receiver<Option<V>>, bool, Waiter)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((receiver, waiters)) = pending.get(&key) {
            return (receiver.clone(), true, waiters.one_more());
        }
        let (sender, receiver) = watch::channel(None);
        let waiters = Waiters(Arc::new(watch::channel(0).0));
        let waiter = waiters.one_more();
        let wanted = Wanted(Some(waiters.0.subscribe()));
        pending.insert(key.clone(), (receiver.clone(), waiters));
        drop(pending);
        let clearance = Clearance { key, pending: Arc::clone(&self.pending) };
        let work = work(wanted);
        self.runtime.spawn(async move {
            // First the key is freed, then the value is told: whoever asks after the value was seen leads anew.
            let value = {
                let _clearance = clearance;
                work.await
            };
            let _nobody_waits = sender.send(Some(value));
        });
        (receiver, false, waiter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn equal_work_is_done_once_and_the_key_is_free_after() {
        let flights = Arc::new(Flights::<u8, usize>::new(Handle::current()));
        let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (flights, runs, gate) = (Arc::clone(&flights), Arc::clone(&runs), Arc::clone(&gate));
            async move {
                let work = |_| async move {
                    gate.notified().await;
                    runs.fetch_add(1, Ordering::SeqCst) + 1
                };
                flights.join(1, work).await.expect("lands")
            }
        };
        let all = tokio::spawn(futures_util::future::join_all((0..100).map(|_| ask())));
        while flights.is_empty() {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        let landed = all.await.expect("no panic");
        assert!(landed.iter().all(|l| l.value == 1));
        assert_eq!(landed.iter().filter(|l| !l.joined).count(), 1);
        assert!(flights.is_empty());
        gate.notify_one();
        assert_eq!(ask().await, Landed { value: 2, joined: false });
    }

    #[tokio::test]
    async fn a_leader_who_leaves_does_not_stop_the_work() {
        let flights = Arc::new(Flights::<u8, u8>::new(Handle::current()));
        let gate = Arc::new(Notify::new());
        let held = Arc::clone(&gate);
        let leader = tokio::spawn({
            let flights = Arc::clone(&flights);
            async move {
                let work = |_| async move {
                    held.notified().await;
                    7
                };
                flights.join(1, work).await
            }
        });
        while flights.is_empty() {
            tokio::task::yield_now().await;
        }
        leader.abort();
        let follower = flights.join(1, |_| async { unreachable!("the first work is still there") });
        gate.notify_one();
        assert_eq!(follower.await, Ok(Landed { value: 7, joined: true }));
    }

    #[tokio::test]
    async fn a_panic_is_told_to_all_and_frees_the_key() {
        let flights = Flights::<u8, u8>::new(Handle::current());
        assert_eq!(flights.join(1, |_| async { panic!("bug") }).await, Err(Lost));
        assert_eq!(flights.join(1, |_| async { 3 }).await, Ok(Landed { value: 3, joined: false }));
    }

    #[tokio::test]
    async fn work_is_told_when_all_who_waited_have_left() {
        let flights = Arc::new(Flights::<u8, u8>::new(Handle::current()));
        let mut leader = Box::pin(flights.join(1, |wanted| async move {
            assert!(!wanted.is_deserted());
            wanted.deserted().await;
            u8::from(wanted.is_deserted())
        }));
        let mut follower = Box::pin(flights.join(1, |_| async { 7 }));
        tokio::select! {
            biased;
            _ = &mut leader => unreachable!("somebody waits"),
            _ = &mut follower => unreachable!("it has joined"),
            () = tokio::task::yield_now() => {}
        }
        drop(leader);
        tokio::task::yield_now().await;
        assert!(!flights.is_empty(), "one waits still");
        drop(follower);
        while !flights.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
