//! Tiers over servers, values to put into them, and waiting for a condition.
//! Law: a condition that does not come is a failure that says which.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use pixgate::cache::Entry;
use pixgate::cache::redis::{Address, Settings, Tier};
use pixgate::format::ImageFormat;
use pixgate::record::{Lifetime, PlaceholderSet, SourceKey, SourceRecord, Validators, WishKey};
use pixgate::telemetry::{Exposition, Metrics};
use pixgate::variant::{ContentHash, Fit, FormatWish, Geometry, Output, Quality, Rgb, Transform, VariantKey, Wish};
use tokio::runtime::Handle;

use crate::support::RedisServer;

const PATIENCE: Duration = Duration::from_secs(30);

/// A tier with its metrics.
pub(crate) struct Shared {
    pub(crate) tier: Arc<Tier>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Long enough for a busy machine; tests of the limit itself set their own.
pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        address: Some(Address::parse(url).expect("a good address")),
        timeout: Duration::from_secs(2),
        ..Settings::default()
    }
}

impl Shared {
    /// Not connected yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let tier = Tier::new(settings, Arc::clone(&metrics), &Handle::current()).expect("an address");
        Self { tier: Arc::new(tier), metrics }
    }

    pub(crate) async fn connected(settings: &Settings) -> Self {
        let shared = Self::new(settings);
        shared.up().await;
        shared
    }

    pub(crate) async fn over(server: &RedisServer) -> Self {
        Self::connected(&settings(&server.url())).await
    }

    pub(crate) async fn up(&self) {
        until("Redis is up", || self.tier.is_up()).await;
    }

    pub(crate) async fn down(&self) {
        until("Redis is down", || !self.tier.is_up()).await;
    }

    /// The value of one line of the exposition, 0 when it is not there.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.exposition(Exposition::Text);
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    pub(crate) fn lookups(&self, outcome: &str) -> u64 {
        self.metric(&format!("pixgate_cache_lookups_total{{tier=\"redis\",outcome=\"{outcome}\"}}"))
    }

    pub(crate) fn writes(&self, outcome: &str) -> u64 {
        self.metric(&format!("pixgate_cache_writes_total{{tier=\"redis\",outcome=\"{outcome}\"}}"))
    }
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A source, a wish, what it comes down to, and the values of both.
pub(crate) struct Sample {
    pub(crate) source: SourceKey,
    pub(crate) wish: WishKey,
    pub(crate) record: Arc<SourceRecord>,
    pub(crate) variant: VariantKey,
    pub(crate) entry: Arc<Entry>,
}

impl Sample {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_picture(name, format!("the picture of {name}").into_bytes())
    }

    pub(crate) fn with_picture(name: &str, picture: Vec<u8>) -> Self {
        let source = SourceKey::of_normalised(&format!("https://images.example.com/{name}"));
        let wish = Wish {
            width: Some(640),
            height: None,
            cap: 3840,
            max_pixels: 25_000_000,
            fit: Fit::Inside,
            quality: Quality::new(75),
            format: FormatWish::Exactly(ImageFormat::Webp),
            background: None,
        };
        let record = record(ContentHash::of(name.as_bytes()));
        Self {
            source,
            wish: WishKey::new(&source, &wish),
            variant: variant(&record),
            record: Arc::new(record),
            entry: Arc::new(Entry::new(Bytes::from(picture), ImageFormat::Webp, 640, 480, None)),
        }
    }

    /// The same source with other bytes.
    pub(crate) fn changed(&self, content: &str) -> Self {
        let record = record(ContentHash::of(content.as_bytes()));
        let picture = Bytes::from(format!("the picture of {content}"));
        Self {
            source: self.source,
            wish: self.wish,
            variant: variant(&record),
            record: Arc::new(record),
            entry: Arc::new(Entry::new(picture, ImageFormat::Webp, 640, 480, None)),
        }
    }
}

/// What the sample's wish comes down to for a record.
pub(crate) fn variant(record: &SourceRecord) -> VariantKey {
    let transform = Transform {
        output: Output::Still(ImageFormat::Webp),
        geometry: Geometry::Scale { width: 640, height: 480 },
        quality: Quality::new(75),
        background: None,
    };
    VariantKey::new(&record.content, &transform)
}

fn record(content: ContentHash) -> SourceRecord {
    let placeholder = PlaceholderSet {
        blurhash: "LEHV6nWB2yk8pyo0adR*.7kCMdnj".into(),
        thumbhash: vec![1, 2, 3],
        png: vec![4; 90],
        width: 8,
        height: 6,
        dominant: Rgb([1, 2, 3]),
        has_alpha: true,
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    SourceRecord {
        content,
        validators: Validators {
            etag: Some("\"v1\"".into()),
            last_modified: Some("Mon, 01 Jan 2024 00:00:00 GMT".into()),
        },
        format: ImageFormat::Jpeg,
        width: 4000,
        height: 3000,
        has_alpha: false,
        frames: 1,
        bytes: 472_985,
        decode_cost: 48_000_000,
        placeholder: Some(Arc::new(placeholder)),
        fair_quality: Quality::new(61),
        lifetime: Lifetime {
            // Stored in whole milliseconds.
            checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()),
            ttl: Duration::from_secs(3600),
            early: Duration::ZERO,
            stale_while_revalidate: Duration::from_secs(60),
            stale_if_error: Duration::from_secs(600),
            immutable: false,
        },
        storable: true,
        epoch: 0,
    }
}
