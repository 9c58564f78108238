//! The second tier: Redis or Valkey, one node, behind Sentinels, or a Cluster, shared by all replicas.
//!
//! Invariant: it is fast when it is there and unnoticed when it is not. Nothing here waits for a connection, returns an
//! error or logs a line a request; every read has a hard limit, every write happens behind the response, and what comes
//! back is checked before it is believed.
#![expect(clippy::disallowed_types, reason = "the room that knows Redis")]

mod address;
mod breaker;
mod integrity;
mod keys;
mod lease;
mod ledger;
mod link;
mod notices;
mod parameters;
mod writer;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use redis::Script;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

pub use self::address::Address;
use self::integrity::Integrity;
pub use self::lease::{Lease, LeaseGuard};
pub use self::ledger::{Appended, Ledger, Rule};
pub use self::link::Failure;
use self::link::{Link, Op};
pub use self::notices::Notice;
use self::writer::Writer;
use super::{CacheTier, Entry, Found, Resolve, codec};
use crate::record::{SourceKey, SourceRecord, WishKey};
use crate::telemetry::{Metrics, Secret};
use crate::variant::VariantKey;

/// Record, hint and the variant it names, in one round trip. `false` is no value.
static LOOK_UP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local record = redis.call('GET', KEYS[1])
         if not record then return false end
         local hint = redis.call('GET', KEYS[2])
         if not hint or #hint ~= 43 then return {record, hint, false} end
         return {record, hint, redis.call('GET', ARGV[1] .. hint)}",
    )
});

/// Answers of replicas that may wait for whoever waits for them.
const ANSWERS: usize = 4_096;

/// The `[redis]` section.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is; without one there is no second tier.
    pub address: Option<Address>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How long a value is kept at most.
    pub ttl: Duration,
    /// Limit of a read, connection and answer together.
    pub timeout: Duration,
    /// Values larger than this are not written.
    pub max_value_bytes: u64,
    /// What values and purges are proved with; without one, whoever may write to Redis is trusted.
    pub integrity_key: Option<Secret>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: None,
            ca_pem: None,
            ttl: Duration::from_secs(30 * 24 * 60 * 60),
            timeout: Duration::from_millis(100),
            max_value_bytes: 4_000_000,
            integrity_key: None,
        }
    }
}

/// See the module's text.
pub struct Tier {
    link: Arc<Link>,
    writer: Writer,
    integrity: Integrity,
    /// Said that somebody else writes purges.
    warned: AtomicBool,
    ttl: Duration,
    /// This replica among those that listen for purges.
    replica: u64,
    /// Epoch and replica of every acknowledgement that is heard.
    answers: broadcast::Sender<(u64, u64)>,
    runtime: Handle,
    tasks: [AbortHandle; 2],
}

impl Drop for Tier {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// What a look-up is counted as when it does not bring the variant.
struct Tally {
    outcome: &'static str,
}

impl Tier {
    /// The tier of `settings`, if they name an address. Does not connect: tasks on `runtime` do, until it is dropped.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>, runtime: &Handle) -> Option<Self> {
        let address = settings.address.clone()?;
        // Fails when a provider is installed already, which is then the one to use.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        metrics.redis_up.set(false);
        metrics.redis_breaker.set(0);
        let link = Arc::new(Link::new(address, settings.ca_pem.clone(), settings.timeout, metrics));
        let integrity = Integrity::new(settings.integrity_key.as_ref());
        let (writer, drain) = Writer::new(Arc::clone(&link), settings.clone(), integrity.clone());
        let tasks = [runtime.spawn(Arc::clone(&link).keep()).abort_handle(), runtime.spawn(drain.run()).abort_handle()];
        let (answers, _) = broadcast::channel(ANSWERS);
        let (ttl, runtime) = (settings.ttl, runtime.clone());
        let warned = AtomicBool::new(false);
        Some(Self { link, writer, integrity, warned, ttl, replica: fastrand::u64(..), answers, runtime, tasks })
    }

    /// Whether Redis is connected and answers, as far as is known.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    async fn find(&self, source: SourceKey, wish: WishKey, resolve: Resolve<'_>, tally: &mut Tally) -> Found {
        let (record, hinted) = if self.link.address().is_cluster() {
            (self.get(keys::source(&source), Op::LookUp, tally).await, None)
        } else {
            match self.hinted(&source, &wish, tally).await {
                Some((record, hint, value)) => (Some(record), hint.map(|hint| (hint, value))),
                None => (None, None),
            }
        };
        let Some(record) = self.decoded(record, &keys::source(&source), codec::decode_record, tally) else {
            return Found::default();
        };
        let key = resolve(&record);
        let value = match hinted {
            Some((hint, value)) if URL_SAFE_NO_PAD.decode(&hint).is_ok_and(|hint| hint == key.as_bytes()) => value,
            _ => {
                let value = self.get(keys::variant(&key), Op::Get, tally).await;
                if value.is_some() && !self.link.address().is_cluster() {
                    self.writer.put_alias(wish, key);
                }
                value
            }
        };
        let entry = self.decoded(value, &keys::variant(&key), codec::decode_entry, tally);
        Found { record: Some(record), entry }
    }

    async fn hinted(
        &self,
        source: &SourceKey,
        wish: &WishKey,
        tally: &mut Tally,
    ) -> Option<(Bytes, Option<Bytes>, Option<Bytes>)> {
        let (source, wish) = (keys::source(source), keys::wish(wish));
        let mut call = LOOK_UP.prepare_invoke();
        call.key(&source).key(&wish).arg(keys::VARIANT);
        let ask = |mut connection| async move { call.invoke_async(&mut connection).await };
        match self.link.call(Op::LookUp, ask).await {
            Ok(found) => found,
            Err(failure) => {
                // One of the three is no string; which of them the next look-up or write will find out.
                self.failed(&failure, vec![source, wish], tally);
                None
            }
        }
    }

    async fn get(&self, name: String, op: Op, tally: &mut Tally) -> Option<Bytes> {
        let mut command = redis::cmd("GET");
        command.arg(&name);
        let ask = |mut connection| async move { command.query_async::<Option<Bytes>>(&mut connection).await };
        match self.link.call(op, ask).await {
            Ok(value) => value,
            Err(failure) => {
                self.failed(&failure, vec![name], tally);
                None
            }
        }
    }

    /// Notes a failure; what is no value at all is taken away.
    fn failed(&self, failure: &Failure, names: Vec<String>, tally: &mut Tally) {
        if failure.code() == Some("WRONGTYPE") {
            tally.outcome = "bad";
            names.into_iter().for_each(|name| self.writer.discard(name));
        } else {
            tally.outcome = "error";
        }
    }

    fn decoded<T>(
        &self,
        value: Option<Bytes>,
        name: &str,
        decode: fn(&Bytes) -> Result<T, codec::Damage>,
        tally: &mut Tally,
    ) -> Option<Arc<T>> {
        match self.integrity.open(name, &value?).and_then(|value| decode(&value)) {
            Ok(decoded) => Some(Arc::new(decoded)),
            Err(damage) => {
                tracing::debug!(name, %damage, "a value in Redis is refused");
                tally.outcome = "bad";
                self.writer.discard(name.to_owned());
                None
            }
        }
    }

    fn count(&self, outcome: &'static str) {
        self.link.metrics().count_lookup("redis", outcome);
    }

    /// One value by name. Only what goes wrong is counted: hits and misses are those of look-ups.
    async fn one<T>(&self, name: String, decode: fn(&Bytes) -> Result<T, codec::Damage>) -> Option<Arc<T>> {
        let mut tally = Tally { outcome: "miss" };
        let value = self.get(name.clone(), Op::Get, &mut tally).await;
        let decoded = self.decoded(value, &name, decode, &mut tally);
        if tally.outcome != "miss" {
            self.count(tally.outcome);
        }
        decoded
    }
}

impl CacheTier for Tier {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn look_up<'a>(&'a self, source: SourceKey, wish: WishKey, resolve: Resolve<'a>) -> BoxFuture<'a, Found> {
        async move {
            let mut tally = Tally { outcome: "miss" };
            let found = self.find(source, wish, resolve, &mut tally).await;
            self.count(if found.entry.is_some() { "hit" } else { tally.outcome });
            found
        }
        .boxed()
    }

    fn record(&self, key: SourceKey) -> BoxFuture<'_, Option<Arc<SourceRecord>>> {
        self.one(keys::source(&key), codec::decode_record).boxed()
    }

    fn variant(&self, key: VariantKey) -> BoxFuture<'_, Option<Arc<Entry>>> {
        self.one(keys::variant(&key), codec::decode_entry).boxed()
    }

    fn put_record(&self, key: SourceKey, record: Arc<SourceRecord>) {
        self.writer.put_record(key, record);
    }

    fn put_variant(&self, _: SourceKey, wish: WishKey, key: VariantKey, entry: Arc<Entry>) {
        self.writer.put_variant(wish, key, entry);
    }

    fn forget(&self, key: SourceKey) -> BoxFuture<'_, bool> {
        let told = self.writer.forget(key);
        async move { told.await.unwrap_or(false) }.boxed()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        self.writer.settled().boxed()
    }
}
