//! The table of all keys, by section.
//!
//! Defaults are those of the rooms' own settings and not here; limits of a single value are here, what spans keys is in
//! `config`. Invariant: no key without a row, and `pixgate.example.toml` has every one of them.

mod effort;
mod limits;
mod metadata;
mod purge;
mod redis;
mod server;
mod signing;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use toml::Value;

use self::effort::KEYS as EFFORT;
use self::limits::KEYS as LIMITS;
use self::metadata::KEYS as METADATA;
use self::purge::KEYS as PURGE;
use self::redis::KEYS as REDIS;
use self::server::KEYS as SERVER;
use self::signing::{KEYS as SIGNING, UNNAMED};
use super::keys::{Key, Kind, Put, Show};
use super::pattern;
use super::read::{self, Shown};
use crate::format::ImageFormat;
use crate::source;
use crate::telemetry::LogFormat;
use crate::variant::Rgb;

const fn key(name: &'static str, kind: Kind, put: Put, show: Show) -> Key {
    Key { name, kind, secret: false, put, show }
}

const fn secret(name: &'static str, kind: Kind, put: Put, show: Show) -> Key {
    Key { name, kind, secret: true, put, show }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Ten years, as long as `humantime` counts them.
const DECADE: Duration = Duration::from_secs(315_576_000);
/// A network deadline.
const DEADLINE: RangeInclusive<Duration> = MILLISECOND..=HOUR;
/// A lifetime in a cache; zero switches it off.
const LIFETIME: RangeInclusive<Duration> = Duration::ZERO..=DECADE;
/// Edges of an output; Next.js's bounds too.
const EDGES: RangeInclusive<u32> = 1..=10_000;
const TERABYTE: u64 = 1_000_000_000_000;

/// All keys, by section.
pub(super) static KEYS: LazyLock<Vec<&'static Key>> =
    LazyLock::new(|| [SERVER, ROOMS, SIGNING, LIMITS, EFFORT, REDIS, PURGE, METADATA].into_iter().flatten().collect());

const ROOMS: &[Key] = &[
    key(
        "sources.domains",
        Kind::Texts,
        |d, v| read::list(v, read::host).map(|l| d.config.sources.domains = l),
        |d| Shown::list(&d.config.sources.domains, Value::from),
    ),
    key(
        "sources.remote_patterns",
        Kind::Patterns,
        |d, v| {
            d.config.sources.remote_patterns = read::list_of(v, 0..=1000, pattern::remote_pattern)?;
            d.remote_patterns = v.as_array().cloned().unwrap_or_default();
            Ok(())
        },
        |d| Some(Value::Array(d.remote_patterns.clone())),
    ),
    key(
        "sources.local_patterns",
        Kind::Patterns,
        |d, v| {
            d.config.sources.local_patterns = Some(read::list_of(v, 0..=1000, pattern::local_pattern)?);
            d.local_patterns = v.as_array().cloned();
            Ok(())
        },
        |d| d.local_patterns.clone().map(Value::Array),
    ),
    key(
        "sources.base_url",
        Kind::Text,
        |d, v| read::origin(v).map(|u| d.config.sources.base_url = u),
        |d| Shown::text(d.config.sources.base_url.as_ref().map_or("", |url| url.as_str().trim_end_matches('/'))),
    ),
    key(
        "sources.allow_any_host",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.sources.allow_any_host = b),
        |d| Some(d.config.sources.allow_any_host.into()),
    ),
    key(
        "sources.allow_local_ip",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.sources.allow_local_ip = b),
        |d| Some(d.config.sources.allow_local_ip.into()),
    ),
    key(
        "sources.allow_cidrs",
        Kind::Texts,
        |d, v| read::list(v, read::network).map(|l| d.config.sources.allow_cidrs = l),
        |d| Shown::list(&d.config.sources.allow_cidrs, |net| net.to_string().into()),
    ),
    key(
        "sources.max_redirects",
        Kind::Integer,
        |d, v| read::number(v, 0..=20).map(|n| d.config.sources.max_redirects = n),
        |d| Some(i64::from(d.config.sources.max_redirects).into()),
    ),
    key(
        "sources.max_bytes",
        Kind::Bytes,
        |d, v| read::bytes(v, 1..=TERABYTE).map(|n| d.config.sources.max_bytes = n),
        |d| Shown::bytes(d.config.sources.max_bytes),
    ),
    key(
        "sources.connect_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.sources.connect_timeout = t),
        |d| Shown::duration(d.config.sources.connect_timeout),
    ),
    key(
        "sources.first_byte_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.sources.first_byte_timeout = t),
        |d| Shown::duration(d.config.sources.first_byte_timeout),
    ),
    key(
        "sources.idle_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.sources.idle_timeout = t),
        |d| Shown::duration(d.config.sources.idle_timeout),
    ),
    key(
        "sources.timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.sources.timeout = t),
        |d| Shown::duration(d.config.sources.timeout),
    ),
    key(
        "sources.per_host",
        Kind::Integer,
        |d, v| read::number(v, 1..=10_000).map(|n| d.config.turns.per_host = n),
        |d| Shown::integer(d.config.turns.per_host as u64),
    ),
    key(
        "sources.next_manifest",
        Kind::Text,
        |d, v| read::optional(v).map(|p| d.next_manifest = p.map(PathBuf::from)),
        |d| Shown::path(d.next_manifest.as_ref()),
    ),
    key(
        "sources.user_agent",
        Kind::Text,
        |d, v| {
            let default = source::Settings::default().user_agent;
            d.config.sources.user_agent = read::optional(v)?.map(read::field_text).transpose()?.unwrap_or(default);
            Ok(())
        },
        |d| {
            let agent = &d.config.sources.user_agent;
            Shown::text(if *agent == source::Settings::default().user_agent { "" } else { agent })
        },
    ),
    key(
        "images.device_sizes",
        Kind::Integers,
        |d, v| read::sizes(v, 1..=25, EDGES).map(|l| d.config.http.sizes.device_sizes = l),
        |d| Shown::list(&d.config.http.sizes.device_sizes, |n| i64::from(n).into()),
    ),
    key(
        "images.image_sizes",
        Kind::Integers,
        |d, v| read::sizes(v, 0..=25, EDGES).map(|l| d.config.http.sizes.image_sizes = l),
        |d| Shown::list(&d.config.http.sizes.image_sizes, |n| i64::from(n).into()),
    ),
    key(
        "images.heights",
        Kind::Integers,
        |d, v| read::sizes(v, 0..=25, EDGES).map(|l| d.config.http.sizes.heights = l),
        |d| Shown::list(&d.config.http.sizes.heights, |n| i64::from(n).into()),
    ),
    key(
        "images.crops",
        Kind::Texts,
        |d, v| read::crops(v).map(|l| d.config.http.sizes.crops = Some(l)),
        |d| {
            let crops = d.config.http.sizes.crops.as_ref()?;
            Shown::list(crops, |(width, height)| format!("{width}x{height}").into())
        },
    ),
    key(
        "images.qualities",
        Kind::Integers,
        |d, v| read::sizes(v, 1..=20, 1..=100).map(|l| d.config.http.sizes.qualities = l),
        |d| Shown::list(&d.config.http.sizes.qualities, |n| i64::from(n).into()),
    ),
    key(
        "images.backgrounds",
        Kind::Texts,
        |d, v| read::colours(v).map(|l| d.config.http.sizes.backgrounds = l),
        |d| Shown::list(&d.config.http.sizes.backgrounds, |colour: Rgb| colour.to_hex().into()),
    ),
    key(
        "images.formats",
        Kind::Texts,
        |d, v| read::formats(v).map(|l| d.config.http.formats = l),
        |d| Shown::list(&d.config.http.formats, |format: ImageFormat| format.as_str().into()),
    ),
    key(
        "images.minimum_cache_ttl",
        Kind::Duration,
        |d, v| read::duration(v, LIFETIME).map(|t| d.config.cache.minimum_ttl = t),
        |d| Shown::duration(d.config.cache.minimum_ttl),
    ),
    key(
        "images.snap",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.http.sizes.snap = b),
        |d| Some(d.config.http.sizes.snap.into()),
    ),
    key(
        "images.max_pixels",
        Kind::Integer,
        |d, v| read::number(v, 1..=4_000_000_000).map(|n| d.config.imaging.limits.max_pixels = n),
        |d| Shown::integer(d.config.imaging.limits.max_pixels),
    ),
    key(
        "images.max_frames",
        Kind::Integer,
        |d, v| read::number(v, 1..=100_000).map(|n| d.config.imaging.limits.max_frames = n),
        |d| Shown::integer(d.config.imaging.limits.max_frames.into()),
    ),
    key(
        "images.allow_svg",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.imaging.limits.allow_svg = b),
        |d| Some(d.config.imaging.limits.allow_svg.into()),
    ),
    key(
        "images.allow_heic",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.imaging.limits.allow_heic = b),
        |d| Some(d.config.imaging.limits.allow_heic.into()),
    ),
    UNNAMED,
    key(
        "images.content_disposition",
        Kind::Text,
        |d, v| {
            let attachment = read::choice(v, &[("inline", false), ("attachment", true)])?;
            d.config.http.content_disposition_attachment = attachment;
            Ok(())
        },
        |d| Shown::text(if d.config.http.content_disposition_attachment { "attachment" } else { "inline" }),
    ),
    key(
        "cache.memory_bytes",
        Kind::Bytes,
        |d, v| read::bytes(v, 0..=TERABYTE).map(|n| d.config.cache.memory_bytes = n),
        |d| Shown::bytes(d.config.cache.memory_bytes),
    ),
    key(
        "cache.source_bytes",
        Kind::Bytes,
        |d, v| read::bytes(v, 0..=TERABYTE).map(|n| d.config.cache.source_bytes = n),
        |d| Shown::bytes(d.config.cache.source_bytes),
    ),
    key(
        "cache.negative_ttl",
        Kind::Duration,
        |d, v| read::duration(v, Duration::ZERO..=HOUR).map(|t| d.config.cache.negative_ttl = t),
        |d| Shown::duration(d.config.cache.negative_ttl),
    ),
    key(
        "cache.stale_while_revalidate",
        Kind::Duration,
        |d, v| read::duration(v, LIFETIME).map(|t| d.config.cache.stale_while_revalidate = t),
        |d| Shown::duration(d.config.cache.stale_while_revalidate),
    ),
    key(
        "cache.stale_if_error",
        Kind::Duration,
        |d, v| read::duration(v, LIFETIME).map(|t| d.config.cache.stale_if_error = t),
        |d| Shown::duration(d.config.cache.stale_if_error),
    ),
    key(
        "log.level",
        Kind::Text,
        |d, v| read::log_filter(v).map(|level| d.config.log.level = level),
        |d| Shown::text(&d.config.log.level),
    ),
    key(
        "log.access",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.http.access_log = b),
        |d| Some(d.config.http.access_log.into()),
    ),
    key(
        "log.format",
        Kind::Text,
        |d, v| read::choice(v, LOG_FORMATS).map(|f| d.config.log.format = f),
        |d| Shown::choice(LOG_FORMATS, d.config.log.format),
    ),
];

const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
