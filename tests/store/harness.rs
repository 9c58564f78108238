//! Stores over files and servers, values to put into them, and waiting for a condition.
//! Law: a condition that does not come is a failure that says which.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use pixgate::format::ImageFormat;
use pixgate::record::{Lifetime, PlaceholderSet, SourceKey, SourceRecord, Validators};
use pixgate::store::{self, Address, Batch, MetadataStore, NewSource, NewVariant, Settings, Stamp, VariantMeta};
use pixgate::telemetry::{Exposition, Metrics};
use pixgate::variant::{ContentHash, Effort, Geometry, Output, Quality, Rgb, Transform, VariantKey};
use sqlx::postgres::PgPool;
use tokio::runtime::Handle;

use crate::support::PostgresServer;

const PATIENCE: Duration = Duration::from_secs(60);

/// A moment that every test can count from.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// A directory that is gone when the test is.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pixgate-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.0.join("pixgate.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        address: Some(Address::parse(url).expect("a good address")),
        flush_interval: Duration::from_millis(200),
        retention: Duration::ZERO,
        ..Settings::default()
    }
}

/// A store with its metrics.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn MetadataStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Settings,
}

impl Opened {
    /// Not connected yet.
    pub(crate) fn new(settings: Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let store = store::open(&settings, Arc::clone(&metrics), &Handle::current()).expect("an address");
        Self { store, metrics, settings }
    }

    pub(crate) async fn connected(settings: Settings) -> Self {
        let opened = Self::new(settings);
        opened.up().await;
        opened
    }

    pub(crate) async fn over(url: &str) -> Self {
        Self::connected(settings(url)).await
    }

    pub(crate) async fn up(&self) {
        until("the store is up", || self.store.is_up()).await;
    }

    pub(crate) async fn down(&self) {
        until("the store is down", || !self.store.is_up()).await;
    }

    pub(crate) fn recorder(&self) -> store::Recorder {
        store::Recorder::start(Arc::clone(&self.store), &self.settings, Arc::clone(&self.metrics), &Handle::current())
    }

    /// The value of one line of the exposition, 0 when it is not there.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.exposition(Exposition::Text);
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    pub(crate) fn rows(&self, outcome: &str) -> u64 {
        self.metric(&format!("pixgate_metadata_writes_total{{outcome=\"{outcome}\"}}"))
    }

    /// Writes a batch of its own, which must go well.
    pub(crate) async fn write(&self, batch: Batch) {
        self.store.write(Arc::new(batch), stamp()).await.expect("written");
    }
}

pub(crate) fn stamp() -> Stamp {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Stamp { writer: std::process::id().into(), batch: NEXT.fetch_add(1, Ordering::Relaxed), at: now() }
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A connection of the test's own to a server.
pub(crate) async fn by_hand(server: &PostgresServer) -> PgPool {
    PgPool::connect(&server.url()).await.expect("a connection")
}

/// Connections of Pixgate that the server knows.
pub(crate) async fn on_server(pool: &PgPool) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pixgate'";
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("an answer")
}

pub(crate) fn url(name: &str) -> String {
    format!("https://images.example.com/{name}")
}

pub(crate) fn key(name: &str) -> SourceKey {
    SourceKey::of_normalised(&url(name))
}

pub(crate) fn record(content: &str) -> SourceRecord {
    SourceRecord {
        content: ContentHash::of(content.as_bytes()),
        validators: Validators {
            etag: Some("\"v1\"".into()),
            last_modified: Some("Mon, 01 Jan 2024 00:00:00 GMT".into()),
        },
        format: ImageFormat::Jpeg,
        width: 4000,
        height: 3000,
        has_alpha: false,
        frames: 1,
        bytes: 500_000,
        decode_cost: 48_000_000,
        placeholder: Some(Arc::new(placeholder())),
        fair_quality: Quality::new(61),
        lifetime: Lifetime {
            checked_at: now(),
            ttl: Duration::new(86_400, 5),
            early: Duration::from_millis(1_234),
            stale_while_revalidate: Duration::from_secs(7 * 86_400),
            stale_if_error: Duration::from_secs(315_576_000),
            immutable: true,
        },
        storable: true,
        epoch: 1_700_000_000_123_456,
    }
}

pub(crate) fn placeholder() -> PlaceholderSet {
    PlaceholderSet {
        blurhash: "LEHV6nWB2yk8pyo0adR*.7kCMdnj".into(),
        thumbhash: vec![1, 2, 3],
        png: vec![4; 90],
        width: 8,
        height: 6,
        dominant: Rgb([1, 2, 3]),
        has_alpha: true,
    }
}

pub(crate) fn source(name: &str, record: SourceRecord) -> NewSource {
    NewSource { key: key(name), url: url(name).into(), record: Arc::new(record), seen_at: now() }
}

pub(crate) fn meta(name: &str, width: u32, format: ImageFormat, bytes: u64) -> VariantMeta {
    VariantMeta {
        content: ContentHash::of(name.as_bytes()),
        transform: Transform {
            output: Output::Still(format),
            geometry: Geometry::Scale { width, height: width / 2 },
            quality: Quality::new(75),
            background: Some(Rgb([255, 0, 16])),
        },
        format,
        width,
        height: width / 2,
        bytes,
        render_us: Some(20_000),
        effort: Some(Effort::Dense),
        created_at: now(),
    }
}

pub(crate) fn variant(name: &str, width: u32, format: ImageFormat, bytes: u64) -> NewVariant {
    let meta = meta(name, width, format, bytes);
    NewVariant { source: key(name), key: VariantKey::new(&meta.content, &meta.transform), meta }
}
