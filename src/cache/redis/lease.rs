//! Leases: one replica at a time works on a key, and a replica that dies holds nobody up past the lease's end.
//!
//! Invariant (Redis's own pattern for one server): a lease is a key with a random token and an end; only who knows the token
//! renews or releases it. It saves work and proves nothing: two may believe that they hold it when Redis fails over.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use redis::Script;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::link::{Failure, Link, Op};
use super::{Tier, keys};

static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});
/// Sent as it is: when Redis hangs there is no second attempt in which a script that it does not know could be loaded.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])";

/// How asking for a lease ended.
#[derive(Debug)]
pub enum Lease {
    /// It is ours until the guard is dropped.
    Acquired(LeaseGuard),
    /// Another has it.
    Held,
    /// Nobody knows; the caller leads for itself.
    Unavailable,
}

/// A lease that is ours; renewed while this lives, released when it is dropped.
pub struct LeaseGuard {
    grip: Arc<Grip>,
    renewal: AbortHandle,
    runtime: Handle,
    released: bool,
}

struct Grip {
    link: Arc<Link>,
    name: String,
    token: String,
    ttl: Duration,
    held: AtomicBool,
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseGuard").field("name", &self.grip.name).field("held", &self.is_held()).finish()
    }
}

impl Tier {
    /// Asks for the lease on a hash (of a wish, a variant, a source), which ends after `ttl` unless it is renewed.
    pub async fn lease(&self, key: &[u8; 32], ttl: Duration) -> Lease {
        let token = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let held = AtomicBool::new(true);
        let grip = Arc::new(Grip { link: Arc::clone(&self.link), name: keys::lease(key), token, ttl, held });
        let (lease, outcome) = match grip.acquire().await {
            Ok(true) => {
                let renewal = self.runtime.spawn(Arc::clone(&grip).renew_for_ever()).abort_handle();
                let guard = LeaseGuard { grip, renewal, runtime: self.runtime.clone(), released: false };
                (Lease::Acquired(guard), "acquired")
            }
            Ok(false) => (Lease::Held, "held"),
            Err(failure) => {
                if matches!(failure, Failure::Timeout) {
                    // It may be ours without our knowing; behind the question on the same connection, this takes it back.
                    self.runtime.spawn(async move { grip.release().await });
                }
                (Lease::Unavailable, "unavailable")
            }
        };
        self.link.metrics().count_lease(outcome);
        lease
    }

    /// Whether somebody holds the lease on a hash; `None` when Redis does not say.
    pub async fn lease_is_held(&self, key: &[u8; 32]) -> Option<bool> {
        let mut command = redis::cmd("EXISTS");
        command.arg(keys::lease(key));
        let ask = |mut connection| async move { command.query_async::<bool>(&mut connection).await };
        self.link.call(Op::Lease, ask).await.ok()
    }
}

impl LeaseGuard {
    /// False once it is known, or must be supposed, that the lease ended although it was to be renewed.
    pub fn is_held(&self) -> bool {
        self.grip.held.load(Ordering::Acquire)
    }

    /// Gives it back now; true when it was still ours.
    pub async fn release(mut self) -> bool {
        self.released = true;
        self.renewal.abort();
        self.grip.release().await
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.renewal.abort();
        if !self.released {
            let grip = Arc::clone(&self.grip);
            self.runtime.spawn(async move { grip.release().await });
        }
    }
}

impl Grip {
    async fn acquire(&self) -> Result<bool, Failure> {
        let mut command = redis::cmd("SET");
        command.arg(&self.name).arg(&self.token).arg("NX").arg("PX").arg(self.ttl_ms());
        let ask = |mut connection| async move { command.query_async::<Option<String>>(&mut connection).await };
        self.link.call(Op::Lease, ask).await.map(|set| set.is_some())
    }

    async fn renew_for_ever(self: Arc<Self>) {
        let mut confirmed = Instant::now();
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            let (name, token) = (self.name.clone(), self.token.clone());
            let ttl_ms = self.ttl_ms();
            let ask = |mut connection| async move {
                RENEW.key(name).arg(token).arg(ttl_ms).invoke_async::<bool>(&mut connection).await
            };
            match self.link.call(Op::Lease, ask).await {
                Ok(true) => confirmed = Instant::now(),
                Err(_) if confirmed.elapsed() < self.ttl => {}
                Ok(false) | Err(_) => {
                    self.held.store(false, Ordering::Release);
                    self.link.metrics().count_lease("lost");
                    return;
                }
            }
        }
    }

    /// True when it was still ours.
    async fn release(&self) -> bool {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(&self.name).arg(&self.token);
        let ask = |mut connection| async move { command.query_async::<bool>(&mut connection).await };
        self.link.call(Op::Lease, ask).await.unwrap_or(false)
    }

    fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.as_millis().max(1)).unwrap_or(u64::MAX)
    }
}
