//! A batch as statements, the same for every engine.
//!
//! Invariant: sums are kept by what a row adds to them, worked out in the transaction that writes the row and behind the
//! gate, so they are exact whoever else writes; several rows go in one statement, of a few sizes only, so that few
//! statements need to be prepared.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use url::Url;

use super::engine::{Statement, Value};
use super::rows::{Answered, Asked, Batch, Hits, NewSource, NewVariant, Seen, Stamp};
use super::{placeholder, purging};
use crate::variant::{Geometry, Output, Quality, Rgb};

/// Rows of one statement, the largest number that fits first.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];
/// Parameters of one statement; SQLite's limit is half as many again.
const PARAMETERS: usize = 20_000;

pub(super) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn int(number: u64) -> Value {
    Value::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// Everything of `batch`, to be written in one transaction.
pub(super) fn statements(batch: &Batch, stamp: Stamp) -> Vec<Statement> {
    let mut all = opening(stamp);
    all.extend(batch.purges.iter().map(|purge| purging::purge(purge, &batch.keys)));
    rows(&mut all, &batch.sources, SOURCE, &[SOURCE_SUMS, SOURCE_ROWS], source);
    rows(&mut all, &batch.variants, VARIANT, &[VARIANT_SUMS, VARIANT_ROWS], variant);
    rows(&mut all, &batch.hits, HIT, &[HIT_SUMS, HIT_SOURCES, HIT_ROWS], hit);
    rows(&mut all, &batch.asked, ASKED, &[ASKED_SUMS, ASKED_ROWS], asked);
    rows(&mut all, &batch.seen, SEEN, &[SEEN_ROWS], seen);
    let answered: Vec<_> = Answered::ALL.into_iter().zip(batch.answered).filter(|(_, count)| *count > 0).collect();
    rows(&mut all, &answered, &["name", "value"], &[ANSWERED], |(way, count)| {
        vec![format!("answered.{}", way.as_str()).as_str().into(), int(*count)]
    });
    all
}

/// The gate, and the mark by which a batch is known to be applied.
fn opening(stamp: Stamp) -> Vec<Statement> {
    let mark = "INSERT INTO writers (writer, batch, written_at) VALUES ($1, $2, $3) \
                ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, written_at = excluded.written_at \
                WHERE writers.batch < excluded.batch";
    let values = vec![Value::Int(Some(stamp.writer.cast_signed())), int(stamp.batch), millis(stamp.at).into()];
    vec![gate(), Statement { guards: true, ..Statement::new(mark, values) }]
}

/// Waits until no other transaction writes; to be the first statement of every one.
pub(super) fn gate() -> Statement {
    Statement::new("UPDATE gate SET turns = turns + 1 WHERE id = 0", Vec::new())
}

/// For every chunk of `items`, each of `texts` behind a common table `d` with `columns`.
fn rows<T>(
    all: &mut Vec<Statement>,
    mut items: &[T],
    columns: &[&str],
    texts: &[&str],
    values: impl Fn(&T) -> Vec<Value>,
) {
    while !items.is_empty() {
        let fits = |size: &usize| *size <= items.len() && size * columns.len() <= PARAMETERS;
        let size = SIZES.into_iter().find(fits).unwrap_or(1);
        let (chunk, rest) = items.split_at(size);
        items = rest;
        let values: Arc<[Value]> = chunk.iter().flat_map(&values).collect();
        let table = table(columns, size);
        all.extend(texts.iter().map(|text| Statement::new(format!("{table} {text}"), Arc::clone(&values))));
    }
}

/// `WITH d (a, b) AS (VALUES ($1, $2), ($3, $4))`.
fn table(columns: &[&str], size: usize) -> String {
    let mut text = format!("WITH d ({}) AS (VALUES ", columns.join(", "));
    for row in 0..size {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns.len() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}${}", if column == 0 { "" } else { ", " }, row * columns.len() + column + 1);
        }
        text.push(')');
    }
    text.push(')');
    text
}

const SOURCE: &[&str] = &[
    "source_key",
    "url",
    "host",
    "content",
    "etag",
    "last_modified",
    "format",
    "width",
    "height",
    "has_alpha",
    "frames",
    "bytes",
    "decode_cost",
    "placeholder",
    "checked_at",
    "ttl_ns",
    "early_ns",
    "stale_while_revalidate_ns",
    "stale_if_error_ns",
    "storable",
    "epoch",
    "fair_quality",
    "seen_at",
];

/// An older record does not take a newer one's place, nor come back after a purge. `{new}` is the row that is written.
const SOURCE_SUMS: &str = "INSERT INTO totals (name, value) \
    SELECT 'sources', CAST(coalesce(sum(CASE WHEN s.url IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) \
    FROM d LEFT JOIN sources s ON s.source_key = d.source_key \
    WHERE (s.purged_at IS NULL OR d.checked_at >= s.purged_at) AND (s.checked_at IS NULL OR d.checked_at >= s.checked_at) \
    UNION ALL SELECT 'source_bytes', CAST(coalesce(sum(d.bytes - coalesce(s.bytes, 0)), 0) AS BIGINT) \
    FROM d LEFT JOIN sources s ON s.source_key = d.source_key \
    WHERE (s.purged_at IS NULL OR d.checked_at >= s.purged_at) AND (s.checked_at IS NULL OR d.checked_at >= s.checked_at) \
    ON CONFLICT (name) DO UPDATE SET value = totals.value + excluded.value";

const SOURCE_ROWS: &str = "INSERT INTO sources (source_key, url, host, content, etag, last_modified, format, width, height, \
    has_alpha, frames, bytes, decode_cost, placeholder, checked_at, ttl_ns, early_ns, stale_while_revalidate_ns, \
    stale_if_error_ns, storable, epoch, fair_quality, first_seen, last_seen) \
    SELECT source_key, url, host, content, etag, last_modified, format, width, height, has_alpha, frames, bytes, \
    decode_cost, placeholder, checked_at, ttl_ns, early_ns, stale_while_revalidate_ns, stale_if_error_ns, storable, epoch, \
    fair_quality, seen_at, seen_at FROM d WHERE true \
    ON CONFLICT (source_key) DO UPDATE SET url = excluded.url, host = excluded.host, \
    placeholder = CASE WHEN excluded.placeholder IS NULL AND sources.content = excluded.content THEN sources.placeholder \
    ELSE excluded.placeholder END, fair_quality = CASE WHEN excluded.fair_quality IS NULL AND \
    sources.content = excluded.content THEN sources.fair_quality ELSE excluded.fair_quality END, \
    content = excluded.content, etag = excluded.etag, last_modified = excluded.last_modified, format = excluded.format, \
    width = excluded.width, height = excluded.height, has_alpha = excluded.has_alpha, frames = excluded.frames, \
    bytes = excluded.bytes, decode_cost = excluded.decode_cost, checked_at = excluded.checked_at, ttl_ns = excluded.ttl_ns, \
    early_ns = excluded.early_ns, stale_while_revalidate_ns = excluded.stale_while_revalidate_ns, \
    stale_if_error_ns = excluded.stale_if_error_ns, storable = excluded.storable, epoch = excluded.epoch, \
    last_seen = CASE WHEN excluded.last_seen > sources.last_seen THEN excluded.last_seen ELSE sources.last_seen END \
    WHERE (sources.purged_at IS NULL OR excluded.checked_at >= sources.purged_at) \
    AND (sources.checked_at IS NULL OR excluded.checked_at >= sources.checked_at)";

fn source(new: &NewSource) -> Vec<Value> {
    let NewSource { key, url, record, seen_at } = new;
    let lifetime = &record.lifetime;
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(Arc::from));
    let text = |text: &Option<String>| Value::Text(text.as_deref().map(Arc::from));
    vec![
        key.as_bytes().into(),
        Value::Text(Some(Arc::clone(url))),
        Value::Text(host),
        record.content.as_bytes().into(),
        text(&record.validators.etag),
        text(&record.validators.last_modified),
        record.format.as_str().into(),
        int(record.width.into()),
        int(record.height.into()),
        i64::from(record.has_alpha).into(),
        int(record.frames.into()),
        int(record.bytes),
        int(record.decode_cost),
        Value::Bytes(record.placeholder.as_deref().and_then(placeholder::encode)),
        millis(lifetime.checked_at).into(),
        nanos(lifetime.ttl).into(),
        nanos(lifetime.early).into(),
        nanos(lifetime.stale_while_revalidate).into(),
        nanos(lifetime.stale_if_error).into(),
        (i64::from(record.storable) | i64::from(lifetime.immutable) << 1).into(),
        int(record.epoch),
        Value::Int(record.fair_quality.map(Quality::get).map(i64::from)),
        millis(*seen_at).into(),
    ]
}

const VARIANT: &[&str] = &[
    "source_key",
    "variant_key",
    "content",
    "output",
    "format",
    "geometry",
    "width",
    "height",
    "quality",
    "background",
    "bytes",
    "render_us",
    "effort",
    "created_at",
];

/// What was counted of a variant before it was described is added with its description.
const VARIANT_SUMS: &str = "INSERT INTO formats (format, variants, bytes, renders, render_us, render_pixels, requests, hits, \
    served_bytes, saved_bytes, unused, unused_bytes) \
    SELECT d.format, CAST(sum(CASE WHEN v.format IS NULL THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(sum(d.bytes - coalesce(v.bytes, 0)) AS BIGINT), count(d.render_us), CAST(coalesce(sum(d.render_us), 0) AS BIGINT), \
    CAST(sum(CASE WHEN d.render_us IS NULL THEN 0 ELSE d.width * d.height END) AS BIGINT), \
    CAST(sum(CASE WHEN v.format IS NULL THEN coalesce(v.requests, 0) ELSE 0 END) AS BIGINT), \
    CAST(sum(CASE WHEN v.format IS NULL THEN coalesce(v.hits, 0) ELSE 0 END) AS BIGINT), \
    CAST(sum(CASE WHEN v.format IS NULL THEN coalesce(v.requests, 0) * d.bytes ELSE 0 END) AS BIGINT), \
    CAST(sum(CASE WHEN v.format IS NULL AND s.bytes > d.bytes THEN coalesce(v.requests, 0) * (s.bytes - d.bytes) ELSE 0 END) \
    AS BIGINT), \
    CAST(sum(CASE WHEN v.format IS NULL AND coalesce(v.requests, 0) <= 1 THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(sum(CASE WHEN coalesce(v.requests, 0) <= 1 THEN d.bytes - coalesce(v.bytes, 0) ELSE 0 END) AS BIGINT) \
    FROM d LEFT JOIN variants v ON v.source_key = d.source_key AND v.variant_key = d.variant_key \
    LEFT JOIN sources s ON s.source_key = d.source_key \
    WHERE true GROUP BY d.format \
    ON CONFLICT (format) DO UPDATE SET variants = formats.variants + excluded.variants, \
    bytes = formats.bytes + excluded.bytes, renders = formats.renders + excluded.renders, \
    render_us = formats.render_us + excluded.render_us, render_pixels = formats.render_pixels + excluded.render_pixels, \
    requests = formats.requests + excluded.requests, hits = formats.hits + excluded.hits, \
    served_bytes = formats.served_bytes + excluded.served_bytes, saved_bytes = formats.saved_bytes + excluded.saved_bytes, \
    unused = formats.unused + excluded.unused, unused_bytes = formats.unused_bytes + excluded.unused_bytes";

const VARIANT_ROWS: &str = "INSERT INTO variants (source_key, variant_key, content, output, format, geometry, width, height, \
    quality, background, bytes, render_us, effort, created_at) \
    SELECT source_key, variant_key, content, output, format, geometry, width, height, quality, background, bytes, \
    render_us, effort, created_at FROM d WHERE true \
    ON CONFLICT (source_key, variant_key) DO UPDATE SET content = excluded.content, output = excluded.output, \
    format = excluded.format, geometry = excluded.geometry, width = excluded.width, height = excluded.height, \
    quality = excluded.quality, background = excluded.background, bytes = excluded.bytes, \
    render_us = coalesce(excluded.render_us, variants.render_us), effort = coalesce(excluded.effort, variants.effort)";

fn variant(new: &NewVariant) -> Vec<Value> {
    let NewVariant { source, key, meta } = new;
    let output = match meta.transform.output {
        Output::Still(_) => "still",
        Output::AnimatedWebp => "animated",
        Output::Original => "original",
    };
    let geometry = match meta.transform.geometry {
        Geometry::Scale { .. } => "scale",
        Geometry::Cover { .. } => "cover",
        Geometry::Contain { .. } => "contain",
    };
    let background = |Rgb([r, g, b]): Rgb| i64::from(u32::from_be_bytes([0, r, g, b]));
    vec![
        source.as_bytes().into(),
        key.as_bytes().into(),
        meta.content.as_bytes().into(),
        output.into(),
        meta.format.as_str().into(),
        geometry.into(),
        int(meta.width.into()),
        int(meta.height.into()),
        Value::Int(meta.transform.quality.map(Quality::get).map(i64::from)),
        Value::Int(meta.transform.background.map(background)),
        int(meta.bytes),
        Value::Int(meta.render_us.map(|time| i64::try_from(time).unwrap_or(i64::MAX))),
        Value::Int(meta.effort.map(|effort| effort.number().into())),
        millis(meta.created_at).into(),
    ]
}

const HIT: &[&str] = &["source_key", "variant_key", "requests", "hits", "last_hit"];

const HIT_SUMS: &str = "INSERT INTO formats (format, variants, bytes, renders, render_us, render_pixels, requests, hits, \
    served_bytes, saved_bytes, unused, unused_bytes) \
    SELECT v.format, 0, 0, 0, 0, 0, CAST(sum(d.requests) AS BIGINT), CAST(sum(d.hits) AS BIGINT), \
    CAST(sum(d.requests * v.bytes) AS BIGINT), \
    CAST(sum(d.requests * CASE WHEN s.bytes > v.bytes THEN s.bytes - v.bytes ELSE 0 END) AS BIGINT), \
    CAST(-sum(CASE WHEN v.requests <= 1 AND v.requests + d.requests > 1 THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(-sum(CASE WHEN v.requests <= 1 AND v.requests + d.requests > 1 THEN v.bytes ELSE 0 END) AS BIGINT) \
    FROM d JOIN variants v ON v.source_key = d.source_key AND v.variant_key = d.variant_key \
    LEFT JOIN sources s ON s.source_key = d.source_key \
    WHERE v.format IS NOT NULL GROUP BY v.format \
    ON CONFLICT (format) DO UPDATE SET requests = formats.requests + excluded.requests, \
    hits = formats.hits + excluded.hits, served_bytes = formats.served_bytes + excluded.served_bytes, \
    saved_bytes = formats.saved_bytes + excluded.saved_bytes, unused = formats.unused + excluded.unused, \
    unused_bytes = formats.unused_bytes + excluded.unused_bytes";

const HIT_SOURCES: &str = "INSERT INTO sources (source_key, requests, hits, first_seen, last_seen) \
    SELECT source_key, CAST(sum(requests) AS BIGINT), CAST(sum(hits) AS BIGINT), max(last_hit), max(last_hit) \
    FROM d WHERE true GROUP BY source_key \
    ON CONFLICT (source_key) DO UPDATE SET requests = sources.requests + excluded.requests, \
    hits = sources.hits + excluded.hits, \
    last_seen = CASE WHEN excluded.last_seen > sources.last_seen THEN excluded.last_seen ELSE sources.last_seen END";

const HIT_ROWS: &str = "INSERT INTO variants (source_key, variant_key, created_at, last_hit, requests, hits) \
    SELECT source_key, variant_key, last_hit, last_hit, requests, hits FROM d WHERE true \
    ON CONFLICT (source_key, variant_key) DO UPDATE SET requests = variants.requests + excluded.requests, \
    hits = variants.hits + excluded.hits, \
    last_hit = CASE WHEN excluded.last_hit > coalesce(variants.last_hit, 0) THEN excluded.last_hit ELSE variants.last_hit END";

fn hit(hits: &Hits) -> Vec<Value> {
    let Hits { source, variant, requests, hits, last_ms } = hits;
    vec![source.as_bytes().into(), variant.as_bytes().into(), int(*requests), int(*hits), int(*last_ms)]
}

const ASKED: &[&str] = &["source_key", "width", "requests", "exceeds"];

const ASKED_SUMS: &str = "INSERT INTO asked (width, requests, exceeding) \
    SELECT width, CAST(sum(requests) AS BIGINT), CAST(sum(requests * exceeds) AS BIGINT) FROM d WHERE true GROUP BY width \
    ON CONFLICT (width) DO UPDATE SET requests = asked.requests + excluded.requests, \
    exceeding = asked.exceeding + excluded.exceeding";

const ASKED_ROWS: &str = "INSERT INTO widths (source_key, width, requests, exceeds) \
    SELECT source_key, width, requests, exceeds FROM d WHERE true \
    ON CONFLICT (source_key, width) DO UPDATE SET requests = widths.requests + excluded.requests, exceeds = excluded.exceeds";

fn asked(asked: &Asked) -> Vec<Value> {
    let Asked { source, width, requests, exceeds } = asked;
    vec![source.as_bytes().into(), int((*width).into()), int(*requests), i64::from(*exceeds).into()]
}

const SEEN: &[&str] = &["source_key", "last_ms"];

const SEEN_ROWS: &str = "INSERT INTO sources (source_key, first_seen, last_seen) \
    SELECT source_key, last_ms, last_ms FROM d WHERE true ON CONFLICT (source_key) DO UPDATE SET \
    last_seen = CASE WHEN excluded.last_seen > sources.last_seen THEN excluded.last_seen ELSE sources.last_seen END";

fn seen(seen: &Seen) -> Vec<Value> {
    vec![seen.source.as_bytes().into(), int(seen.last_ms)]
}

const ANSWERED: &str = "INSERT INTO totals (name, value) SELECT name, value FROM d WHERE true \
    ON CONFLICT (name) DO UPDATE SET value = totals.value + excluded.value";
