//! The keys of `[metadata]`.
//!
//! Invariant: its URL may hold a password, and is shown without it wherever it is shown.

use std::time::Duration;

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{DEADLINE, LIFETIME, TERABYTE, key, secret};
use crate::store::Address;

/// Connections of one process; more than a server has by default would be a mistake of digits.
const CONNECTIONS: u32 = 1_000;
/// Less than this is taken by tables and indexes that hold nothing.
const SMALLEST: u64 = 1_000_000;
/// Between a burden on the store and a loss that is worth mentioning.
const FLUSH: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(600)];

pub(super) const KEYS: &[Key] = &[
    secret(
        "metadata.url",
        Kind::Text,
        |d, v| {
            d.config.metadata.address = read::optional(v)?.map(|text| Address::parse(&text)).transpose()?;
            Ok(())
        },
        |d| Shown::text(d.config.metadata.address.as_ref().map_or_else(String::new, Address::to_string)),
    ),
    key(
        "metadata.max_connections",
        Kind::Integer,
        |d, v| read::number(v, 1..=CONNECTIONS).map(|n| d.config.metadata.max_connections = n),
        |d| Shown::integer(d.config.metadata.max_connections.into()),
    ),
    key(
        "metadata.acquire_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.metadata.acquire_timeout = t),
        |d| Shown::duration(d.config.metadata.acquire_timeout),
    ),
    key(
        "metadata.idle_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.metadata.idle_timeout = t),
        |d| Shown::duration(d.config.metadata.idle_timeout),
    ),
    key(
        "metadata.statement_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.metadata.statement_timeout = t),
        |d| Shown::duration(d.config.metadata.statement_timeout),
    ),
    key(
        "metadata.flush_interval",
        Kind::Duration,
        |d, v| read::duration(v, FLUSH[0]..=FLUSH[1]).map(|t| d.config.metadata.flush_interval = t),
        |d| Shown::duration(d.config.metadata.flush_interval),
    ),
    key(
        "metadata.retention",
        Kind::Duration,
        |d, v| read::duration(v, LIFETIME).map(|t| d.config.metadata.retention = t),
        |d| Shown::duration(d.config.metadata.retention),
    ),
    key(
        "metadata.max_bytes",
        Kind::Bytes,
        |d, v| {
            d.config.metadata.max_bytes = read::bytes(v, 0..=TERABYTE)?;
            match d.config.metadata.max_bytes {
                1..SMALLEST => Err("must be 0, which is no bound, or 1MB at least".into()),
                _ => Ok(()),
            }
        },
        |d| Shown::bytes(d.config.metadata.max_bytes),
    ),
];
