//! The keys of `[avif]` and `[refine]`: what is answered fast, and what is made smaller behind.
//!
//! Invariant: `avif.progressive` turns all of it off.

use std::time::Duration;

use super::super::keys::{Key, Kind};
use super::super::read::{self, Shown};
use super::{DEADLINE, LIFETIME, TERABYTE, key};
use crate::imaging::AvifEngine;

pub(super) const KEYS: &[Key] = &[
    key(
        "avif.engine",
        Kind::Text,
        |d, v| read::choice(v, ENGINES).map(|e| d.config.imaging.avif_engine = e),
        |d| Shown::choice(ENGINES, d.config.imaging.avif_engine),
    ),
    key(
        "avif.progressive",
        Kind::Boolean,
        |d, v| read::boolean(v).map(|b| d.config.imaging.progressive = b),
        |d| Some(d.config.imaging.progressive.into()),
    ),
    key(
        "avif.progressive_budget",
        Kind::Duration,
        |d, v| read::duration(v, Duration::ZERO..=*DEADLINE.end()).map(|t| d.config.imaging.progressive_budget = t),
        |d| Shown::duration(d.config.imaging.progressive_budget),
    ),
    key(
        "refine.cpu_percent",
        Kind::Integer,
        |d, v| read::number(v, 0..=100).map(|n| d.config.refine.cpu_percent = n),
        |d| Shown::integer(d.config.refine.cpu_percent.into()),
    ),
    key(
        "refine.max_bytes",
        Kind::Bytes,
        |d, v| read::bytes(v, 0..=TERABYTE).map(|n| d.config.refine.max_bytes = n),
        |d| Shown::bytes(d.config.refine.max_bytes),
    ),
    key(
        "refine.max_age",
        Kind::Duration,
        |d, v| read::duration(v, LIFETIME).map(|t| d.config.refine.max_age = t),
        |d| Shown::duration(d.config.refine.max_age),
    ),
];

const ENGINES: &[(&str, AvifEngine)] =
    &[("auto", AvifEngine::Auto), ("libaom", AvifEngine::Libaom), ("rav1e", AvifEngine::Rav1e)];
