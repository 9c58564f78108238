//! The keys of `[limits]`: what the service may use, and what one client may use of it.
//!
//! Invariant: each bounds something that strangers could otherwise fill.

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{DEADLINE, TERABYTE, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "limits.render_threads",
        Kind::Integer,
        |d, v| read::number(v, 0..=1024).map(|n| d.config.schedule.render_threads = n),
        |d| Shown::integer(d.config.schedule.render_threads as u64),
    ),
    key(
        "limits.decode_memory",
        Kind::Bytes,
        |d, v| read::bytes(v, 1_000_000..=TERABYTE).map(|n| d.config.schedule.decode_memory = n),
        |d| Shown::bytes(d.config.schedule.decode_memory),
    ),
    key(
        "limits.max_output_pixels",
        Kind::Integer,
        |d, v| read::number(v, 10_000..=4_000_000_000).map(|n| d.config.http.sizes.max_output_pixels = n),
        |d| Shown::integer(d.config.http.sizes.max_output_pixels),
    ),
    key(
        "limits.downloads",
        Kind::Integer,
        |d, v| read::number(v, 1..=10_000).map(|n| d.config.turns.all = n),
        |d| Shown::integer(d.config.turns.all as u64),
    ),
    key(
        "limits.queue_wait",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.turns.wait = t),
        |d| Shown::duration(d.config.turns.wait),
    ),
    key(
        "limits.queue",
        Kind::Integer,
        |d, v| read::number(v, 1..=1_000_000).map(|n| d.config.schedule.queue = n),
        |d| Shown::integer(d.config.schedule.queue as u64),
    ),
    key(
        "limits.render_timeout",
        Kind::Duration,
        |d, v| read::duration(v, DEADLINE).map(|t| d.config.schedule.render_timeout = t),
        |d| Shown::duration(d.config.schedule.render_timeout),
    ),
    key(
        "limits.per_client",
        Kind::Integer,
        |d, v| read::number(v, 0..=100_000).map(|n| d.config.http.per_client = n),
        |d| Shown::integer(d.config.http.per_client.into()),
    ),
    key(
        "limits.connections_per_client",
        Kind::Integer,
        |d, v| read::number(v, 0..=100_000).map(|n| d.config.http.connections_per_client = n),
        |d| Shown::integer(d.config.http.connections_per_client.into()),
    ),
];
