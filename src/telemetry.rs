//! What can be seen of a running service: structured logs and Prometheus metrics.
//!
//! Every metric name is in this file, in a registry that the process owns (no global state). Invariant: labels come only
//! from closed enums and constants, never from a host, a URL or a client's text, so their number is bounded.

mod exposition;
mod log;
mod loggable;
mod secret;

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use self::exposition::{ConfiguredGauge, Exposition};
pub use self::log::{LogFormat, Settings, init, log_panics, set_level};
pub use self::loggable::{Loggable, masked, without_values};
pub use self::secret::{Secret, SecretUrl};

/// A label value that can only be a constant of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(pub &'static str);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

macro_rules! label_sets {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }
    )+};
}

label_sets! {
    /// Labels of a request.
    RequestLabels {
        /// Route pattern.
        route: Label,
        /// HTTP status code.
        status: u16,
        /// Cache status, `none` where it does not apply.
        cache: Label
    }
    /// Labels of a request's duration.
    RouteLabels {
        /// Route pattern.
        route: Label,
        /// Cache status, `none` where it does not apply.
        cache: Label
    }
    /// Labels of a cache look-up.
    LookupLabels {
        /// Which tier: `source`, `memory`, `redis`.
        tier: Label,
        /// `hit`, `miss` or `stale`; `error` and `bad` (a value that is refused) where values come from outside.
        outcome: Label
    }
    /// Labels of a write behind.
    WriteLabels {
        /// Which tier: `redis`.
        tier: Label,
        /// `ok`, `dropped`, `too_large` or `error`.
        outcome: Label
    }
    /// What was asked of Redis.
    OpLabels {
        /// `look_up`, `get`, `put`, `forget`, `lease` or `ledger`; `record`, `variants`, `sources`, `stats`, `part`, `write` or `expire`.
        op: Label
    }
    /// A tier.
    TierLabels {
        /// Which tier.
        tier: Label
    }
    /// Labels of a render.
    RenderLabels {
        /// Output format.
        format: Label,
        /// `ok` or the kind of error.
        outcome: Label
    }
    /// How something ended.
    OutcomeLabels {
        /// `ok` or the kind of error.
        outcome: Label
    }
    /// Labels of a purge.
    KindLabels {
        /// `url`, `prefix`, `host` or `all`.
        kind: Label
    }
    /// What a connection does.
    StateLabels {
        /// `idle` or `used`.
        state: Label
    }
    /// A stage of the pipeline.
    StageLabels {
        /// `queue`, `decode`, `resize`, `encode`.
        stage: Label
    }
    /// Why work was refused.
    ReasonLabels {
        /// `queue`, `deadline` or `journeys`.
        reason: Label
    }
}

/// From half a millisecond to half a minute, in seconds.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Time from the request's head to the response's head.
    pub request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Look-ups in each cache tier.
    pub cache_lookups: Family<LookupLabels, Counter>,
    /// Writes behind the response.
    pub cache_writes: Family<WriteLabels, Counter>,
    /// Whether Redis is connected and answers.
    pub redis_up: ConfiguredGauge,
    /// Its circuit breaker: 0 closed, 1 half-open, 2 open.
    pub redis_breaker: ConfiguredGauge,
    /// Time of what is asked of it, timeouts included.
    pub redis_seconds: Family<OpLabels, Histogram, fn() -> Histogram>,
    /// Leases asked for, and lost while held.
    pub leases: Family<OutcomeLabels, Counter>,
    /// Time spent waiting for another replica's work.
    pub lease_wait_seconds: Histogram,
    /// Bytes held by each tier, by its own weighing.
    pub cache_bytes: Family<TierLabels, Gauge>,
    /// Requests to origins, one a redirect chain.
    pub origin_fetches: Family<OutcomeLabels, Counter>,
    /// Time of those requests, body included.
    pub origin_fetch_seconds: Histogram,
    /// Renders that ended.
    pub renders: Family<RenderLabels, Counter>,
    /// Time of each stage of a render.
    pub render_seconds: Family<StageLabels, Histogram, fn() -> Histogram>,
    /// Renders admitted or waiting for admission.
    pub queue_depth: Gauge,
    /// Estimated bytes of the renders admitted now.
    pub decode_bytes: Gauge,
    /// Whether the metadata store is connected and answers.
    pub metadata_up: ConfiguredGauge,
    /// Connections to it.
    pub metadata_connections: Family<StateLabels, Gauge>,
    /// Time until there was a connection to it, or until it was given up.
    pub metadata_acquire_seconds: Histogram,
    /// Time of what was asked of it or written to it, the wait for a connection included.
    pub metadata_seconds: Family<OpLabels, Histogram, fn() -> Histogram>,
    /// Rows written to it.
    pub metadata_writes: Family<OutcomeLabels, Counter>,
    /// Work refused or abandoned.
    pub shed: Family<ReasonLabels, Counter>,
    /// Variants that were to be made better behind.
    pub refined: Family<OutcomeLabels, Counter>,
    /// Purges asked for here.
    pub purges: Family<KindLabels, Counter>,
    /// Attempts to tell the purge webhook.
    pub webhooks: Family<OutcomeLabels, Counter>,
    /// Source bytes less variant bytes, over all variants sent from a render, where positive.
    pub bytes_saved: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with every metric at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pixgate");
        let requests = Family::default();
        registry.register("requests", "Requests answered", requests.clone());
        let request_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("request", "Time to answer", Unit::Seconds, request_seconds.clone());
        let cache_lookups = Family::default();
        registry.register("cache_lookups", "Cache look-ups by tier", cache_lookups.clone());
        let cache_writes = Family::default();
        registry.register("cache_writes", "Writes behind the response by tier", cache_writes.clone());
        let redis_up = ConfiguredGauge::default();
        registry.register("redis_up", "Whether Redis is connected and answers", redis_up.clone());
        let redis_breaker = ConfiguredGauge::default();
        registry.register("redis_breaker", "Circuit breaker: 0 closed, 1 half-open, 2 open", redis_breaker.clone());
        let redis_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("redis", "Time of what is asked of Redis", Unit::Seconds, redis_seconds.clone());
        let leases = Family::default();
        registry.register("leases", "Leases asked for, and lost while held", leases.clone());
        let lease_wait_seconds = seconds();
        registry.register_with_unit(
            "lease_wait",
            "Time spent waiting for another replica's work",
            Unit::Seconds,
            lease_wait_seconds.clone(),
        );
        let cache_bytes = Family::default();
        registry.register("cache_bytes", "Bytes held by each cache tier", cache_bytes.clone());
        let origin_fetches = Family::default();
        registry.register("origin_fetches", "Requests to origins", origin_fetches.clone());
        let origin_fetch_seconds = seconds();
        registry.register_with_unit(
            "origin_fetch",
            "Time of requests to origins, body included",
            Unit::Seconds,
            origin_fetch_seconds.clone(),
        );
        let renders = Family::default();
        registry.register("renders", "Renders by output format", renders.clone());
        let render_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("render", "Time of a render by stage", Unit::Seconds, render_seconds.clone());
        let queue_depth = Gauge::default();
        registry.register("queue_depth", "Renders running or waiting", queue_depth.clone());
        let decode_bytes = Gauge::default();
        registry.register("decode_bytes", "Estimated bytes of admitted renders", decode_bytes.clone());
        let metadata_up = ConfiguredGauge::default();
        registry.register("metadata_up", "Whether the metadata store is connected and answers", metadata_up.clone());
        let metadata_connections = Family::default();
        let help = "Connections to the metadata store";
        registry.register("metadata_pool_connections", help, metadata_connections.clone());
        let metadata_acquire_seconds = seconds();
        registry.register_with_unit(
            "metadata_acquire",
            "Time until there was a connection to the metadata store",
            Unit::Seconds,
            metadata_acquire_seconds.clone(),
        );
        let metadata_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("metadata", "Time of the metadata store", Unit::Seconds, metadata_seconds.clone());
        let metadata_writes = Family::default();
        registry.register("metadata_writes", "Rows for the metadata store by outcome", metadata_writes.clone());
        let shed = Family::<ReasonLabels, Counter>::default();
        for reason in ["queue", "deadline", "journeys"] {
            // There from the start: a rate over a counter that appears with its first event misses that event.
            let _there = shed.get_or_create(&ReasonLabels { reason: Label(reason) });
        }
        registry.register("shed", "Work refused or abandoned", shed.clone());
        let refined = Family::default();
        registry.register("refined", "Variants made better behind, by outcome", refined.clone());
        let purges = Family::default();
        registry.register("purges", "Purges asked for here", purges.clone());
        let webhooks = Family::default();
        registry.register("webhooks", "Attempts to tell the purge webhook", webhooks.clone());
        let bytes_saved = Counter::default();
        registry.register("bytes_saved", "Source bytes less variant bytes, where positive", bytes_saved.clone());
        Self {
            registry,
            requests,
            request_seconds,
            cache_lookups,
            cache_writes,
            redis_up,
            redis_breaker,
            redis_seconds,
            leases,
            lease_wait_seconds,
            cache_bytes,
            origin_fetches,
            origin_fetch_seconds,
            renders,
            render_seconds,
            queue_depth,
            decode_bytes,
            metadata_up,
            metadata_connections,
            metadata_acquire_seconds,
            metadata_seconds,
            metadata_writes,
            shed,
            refined,
            purges,
            webhooks,
            bytes_saved,
        }
    }

    /// Counts one look-up in a tier.
    pub fn count_lookup(&self, tier: &'static str, outcome: &'static str) {
        self.cache_lookups.get_or_create(&LookupLabels { tier: Label(tier), outcome: Label(outcome) }).inc();
    }

    /// Counts one write behind: `ok`, `dropped`, `too_large` or `error`.
    pub fn count_write(&self, tier: &'static str, outcome: &'static str) {
        self.cache_writes.get_or_create(&WriteLabels { tier: Label(tier), outcome: Label(outcome) }).inc();
    }

    /// Records the time of something that was asked of Redis.
    pub fn observe_redis(&self, op: &'static str, time: Duration) {
        self.redis_seconds.get_or_create(&OpLabels { op: Label(op) }).observe(time.as_secs_f64());
    }

    /// Counts a lease: `acquired`, `held`, `unavailable` or `lost`.
    pub fn count_lease(&self, outcome: &'static str) {
        self.leases.get_or_create(&OutcomeLabels { outcome: Label(outcome) }).inc();
    }

    /// Shows how many connections to the metadata store are `idle` or `used`.
    pub fn set_metadata_connections(&self, state: &'static str, count: u32) {
        self.metadata_connections.get_or_create(&StateLabels { state: Label(state) }).set(count.into());
    }

    /// Counts rows for the metadata store: `ok`, `retried` (they will be sent again) or `dropped`.
    pub fn count_metadata_rows(&self, outcome: &'static str, rows: u64) {
        self.metadata_writes.get_or_create(&OutcomeLabels { outcome: Label(outcome) }).inc_by(rows);
    }

    /// Records the time of one stage of a render: `queue`, `decode`, `resize` or `encode`.
    pub fn observe_stage(&self, stage: &'static str, time: Duration) {
        self.render_seconds.get_or_create(&StageLabels { stage: Label(stage) }).observe(time.as_secs_f64());
    }

    /// Counts work refused or abandoned.
    pub fn count_shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ReasonLabels { reason: Label(reason) }).inc();
    }
}

#[cfg(test)]
mod tests;
