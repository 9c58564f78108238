//! The keys of `[redis]`.
//!
//! Invariant: its URL may hold a password, and is shown without it wherever it is shown.

use std::path::PathBuf;
use std::time::Duration;

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{LIFETIME, key, secret};
use crate::cache::redis::Address;

/// Values up to Redis's own limit; larger ones it refuses.
const VALUE: u64 = 512_000_000;

pub(super) const KEYS: &[Key] = &[
    secret(
        "redis.url",
        Kind::Text,
        |d, v| {
            d.config.redis.address = read::optional(v)?.map(|text| Address::parse(&text)).transpose()?;
            Ok(())
        },
        |d| Shown::text(d.config.redis.address.as_ref().map_or_else(String::new, Address::to_string)),
    ),
    key(
        "redis.ca_file",
        Kind::Text,
        |d, v| read::optional(v).map(|path| d.redis_ca_file = path.map(PathBuf::from)),
        |d| Shown::path(d.redis_ca_file.as_ref()),
    ),
    key(
        "redis.ttl",
        Kind::Duration,
        |d, v| read::duration(v, Duration::from_secs(1)..=*LIFETIME.end()).map(|t| d.config.redis.ttl = t),
        |d| Shown::duration(d.config.redis.ttl),
    ),
    key(
        "redis.timeout_ms",
        Kind::Integer,
        |d, v| read::number(v, 1..=10_000).map(|n| d.config.redis.timeout = Duration::from_millis(n)),
        |d| Shown::integer(u64::try_from(d.config.redis.timeout.as_millis()).unwrap_or(u64::MAX)),
    ),
    key(
        "redis.max_value_bytes",
        Kind::Bytes,
        |d, v| read::bytes(v, 1..=VALUE).map(|n| d.config.redis.max_value_bytes = n),
        |d| Shown::bytes(d.config.redis.max_value_bytes),
    ),
    secret(
        "redis.integrity_key",
        Kind::Text,
        |d, v| {
            d.config.redis.integrity_key = read::optional(v)?.map(read::secret).transpose()?;
            Ok(())
        },
        |d| Shown::text(d.config.redis.integrity_key.as_ref().map_or("", |_| "***")),
    ),
];
