//! Questions as SQL, the same for every engine, and their answers read.
//!
//! Invariant: a question walks along an index to its limit, or reads a table of sums; none looks at every source or variant.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::answers::{
    AvifAgainstWebp, Cursor, Exceeding, FormatStats, Sort, SourcePage, SourceQuery, SourceSummary, Stats, Unused,
    VariantSummary, WidthStats,
};
use super::engine::{Error, Question, Row, Value};
use super::{placeholder, purging};
use crate::format::ImageFormat;
use crate::record::{Lifetime, SourceKey, SourceRecord, Validators};
use crate::variant::{ContentHash, Effort, Quality, Rgb};

/// Rows of each list in the statistics.
const TOP: i64 = 10;
/// Widths in the statistics.
const WIDTHS: i64 = 50;
/// Sources whose variants are compared.
const COMPARED: i64 = 200;
/// Sources that are sorted rather than searched for.
const MANY: i64 = 10_000;
/// Rows of a page at most.
const PAGE: u32 = 1_000;

pub(super) fn record(key: &SourceKey) -> Question {
    Question::new(
        "SELECT content, etag, last_modified, format, width, height, has_alpha, frames, bytes, decode_cost, placeholder, \
         checked_at, ttl_ns, early_ns, stale_while_revalidate_ns, stale_if_error_ns, storable, epoch, fair_quality \
         FROM sources WHERE source_key = $1 AND content IS NOT NULL",
        vec![key.as_bytes().into()],
        "btttiiiiiibiiiiiiii",
    )
}

pub(super) fn read_record(mut row: Row) -> Result<SourceRecord, Error> {
    let content = ContentHash::from_bytes(row.hash()?);
    let validators = Validators { etag: row.text()?, last_modified: row.text()? };
    let format = row.text()?.and_then(|name| ImageFormat::ALL.into_iter().find(|format| format.as_str() == name));
    let edge = |number: u64| u32::try_from(number).map_err(|_| Error::Damaged);
    let moment = |row: &mut Row| {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(row.count()?));
        at.ok_or(Error::Damaged)
    };
    let span = |row: &mut Row| row.count().map(Duration::from_nanos);
    let mut record = SourceRecord {
        content,
        validators,
        format: format.ok_or(Error::Damaged)?,
        width: edge(row.count()?)?,
        height: edge(row.count()?)?,
        has_alpha: row.count()? != 0,
        frames: edge(row.count()?)?,
        bytes: row.count()?,
        decode_cost: row.count()?,
        placeholder: row.bytes()?.as_deref().and_then(placeholder::decode).map(std::sync::Arc::new),
        lifetime: Lifetime {
            checked_at: moment(&mut row)?,
            ttl: span(&mut row)?,
            early: span(&mut row)?,
            stale_while_revalidate: span(&mut row)?,
            stale_if_error: span(&mut row)?,
            immutable: false,
        },
        storable: false,
        epoch: 0,
        fair_quality: None,
    };
    // One bit each: it may be stored; it does not change while it is fresh.
    let marks = row.count()?;
    record.storable = marks & 1 != 0;
    record.lifetime.immutable = marks & 2 != 0;
    record.epoch = row.count()?;
    record.fair_quality = row.int()?.and_then(|quality| Quality::new(u8::try_from(quality).ok()?));
    Ok(record)
}

pub(super) fn variants(key: &SourceKey, limit: u32) -> Question {
    Question::new(
        "SELECT v.variant_key, CASE WHEN v.content = s.content THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END, v.output, v.format, v.geometry, v.width, \
         v.height, v.quality, v.background, v.bytes, v.render_us, v.effort, v.created_at, v.last_hit, v.requests, v.hits \
         FROM variants v LEFT JOIN sources s ON s.source_key = v.source_key \
         WHERE v.source_key = $1 AND v.format IS NOT NULL ORDER BY v.hits DESC, v.variant_key LIMIT $2",
        vec![key.as_bytes().into(), i64::from(limit.clamp(1, PAGE)).into()],
        "bitttiiiiiiiiiii",
    )
}

pub(super) fn read_variant(mut row: Row) -> Result<VariantSummary, Error> {
    let optional = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(VariantSummary {
        key: URL_SAFE_NO_PAD.encode(row.hash()?),
        current: row.count()? != 0,
        output: row.text()?.unwrap_or_default(),
        format: row.text()?.unwrap_or_default(),
        geometry: row.text()?.unwrap_or_default(),
        width: row.count()?,
        height: row.count()?,
        quality: optional(row.int()?),
        background: optional(row.int()?).map(|colour| {
            let [.., r, g, b] = colour.to_be_bytes();
            Rgb([r, g, b]).to_string()
        }),
        bytes: row.count()?,
        render_us: optional(row.int()?),
        effort: optional(row.int()?).and_then(Effort::from_number),
        created_at_ms: row.count()?,
        last_hit_ms: optional(row.int()?),
        requests: row.count()?,
        hits: row.count()?,
    })
}

/// The columns of a [`SourceSummary`], after its place in the list.
const SUMMARY: &str = "s.source_key, s.url, s.format, s.width, s.height, s.bytes, \
    CASE WHEN s.placeholder IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END, s.requests, s.hits, s.first_seen, \
    s.last_seen, s.purged_at, s.purges, \
    (SELECT count(*) FROM variants v WHERE v.source_key = s.source_key AND v.format IS NOT NULL), \
    (SELECT CAST(coalesce(sum(v.bytes), 0) AS BIGINT) FROM variants v WHERE v.source_key = s.source_key)";
const SUMMARY_COLUMNS: &str = "ibttiiiiiiiiiiii";

/// How many sources a prefix names, counted no further than [`MANY`].
pub(super) fn named(prefix: &str) -> Question {
    let mut values = vec![MANY.into()];
    let begins = purging::begins("url", prefix, &mut values);
    Question::new(format!("SELECT count(*) FROM (SELECT 1 FROM sources WHERE {begins} LIMIT $1) AS named"), values, "i")
}

/// Whether so many sources are named that the list is better walked along than gathered and sorted.
pub(super) fn are_many(rows: Vec<Row>) -> Result<bool, Error> {
    let count = rows.into_iter().next().ok_or(Error::Damaged)?.int()?;
    Ok(count >= Some(MANY))
}

/// A page; with `many`, a prefix is no reason to gather what it names.
pub(super) fn sources(query: &SourceQuery, many: bool) -> Question {
    let column = query.sort.column();
    let mut values: Vec<Value> = vec![i64::from(query.limit.clamp(1, PAGE)).into()];
    let mut conditions = String::new();
    if !query.prefix.is_empty() {
        // There is no index on the whole URL, so the order's is walked along.
        let begins = if many { purging::between } else { purging::begins };
        conditions = format!(" AND {}", begins("s.url", &query.prefix, &mut values));
    }
    if let Some(Cursor { value, key, .. }) = &query.cursor {
        let first = values.len() + 1;
        conditions.push_str(&format!(" AND (s.{column}, s.source_key) < (${first}, ${})", first + 1));
        values.extend([(*value).into(), key.into()]);
    }
    // The page is found by the index alone; what else there is to say is looked up for its rows only.
    let sql = format!(
        "WITH page AS (SELECT s.source_key, s.{column} AS place FROM sources s \
         WHERE s.url IS NOT NULL{conditions} ORDER BY s.{column} DESC, s.source_key DESC LIMIT $1) \
         SELECT page.place, {SUMMARY} FROM page JOIN sources s ON s.source_key = page.source_key \
         ORDER BY page.place DESC, s.source_key DESC"
    );
    Question::new(sql, values, SUMMARY_COLUMNS)
}

fn read_summary(row: &mut Row) -> Result<(i64, [u8; 32], SourceSummary), Error> {
    let place = row.int()?.ok_or(Error::Damaged)?;
    let key = row.hash()?;
    let summary = SourceSummary {
        url: row.text()?.unwrap_or_default(),
        format: row.text()?.unwrap_or_default(),
        width: row.count()?,
        height: row.count()?,
        bytes: row.count()?,
        placeholder: row.count()? != 0,
        requests: row.count()?,
        hits: row.count()?,
        first_seen_ms: row.count()?,
        last_seen_ms: row.count()?,
        purged_at_ms: row.int()?.and_then(|at| u64::try_from(at).ok()),
        purges: row.count()?,
        variants: row.count()?,
        variant_bytes: row.count()?,
    };
    Ok((place, key, summary))
}

pub(super) fn read_page(query: &SourceQuery, rows: Vec<Row>) -> Result<SourcePage, Error> {
    let full = rows.len() == usize::try_from(query.limit.clamp(1, PAGE)).unwrap_or(usize::MAX);
    let rows = rows.into_iter().map(|mut row| read_summary(&mut row)).collect::<Result<Vec<_>, _>>()?;
    let last = rows.last().filter(|_| full).map(|(place, key, _)| Cursor::new(query.sort, *place, *key).to_text());
    Ok(SourcePage { sources: rows.into_iter().map(|(.., summary)| summary).collect(), cursor: last })
}

/// What [`read_stats`] reads, in its order.
pub(super) fn stats() -> Vec<Question> {
    let top = SourceQuery { limit: u32::try_from(TOP).unwrap_or(PAGE), ..SourceQuery::default() };
    let limited = |sql: &'static str, limit: i64, columns| Question::new(sql, vec![limit.into()], columns);
    vec![
        Question::new("SELECT name, value FROM totals ORDER BY name", Vec::new(), "ti"),
        Question::new(
            "SELECT format, variants, bytes, renders, render_us, render_pixels, requests, hits, served_bytes, saved_bytes, \
             unused, unused_bytes FROM formats ORDER BY format",
            Vec::new(),
            "tiiiiiiiiiii",
        ),
        sources(&top, false),
        limited(
            "SELECT s.url, v.format, v.width, v.bytes, v.created_at FROM variants v CROSS JOIN sources s \
             WHERE v.requests <= 1 AND v.bytes IS NOT NULL AND s.source_key = v.source_key AND s.url IS NOT NULL \
             ORDER BY v.bytes DESC LIMIT $1",
            TOP,
            "ttiii",
        ),
        limited("SELECT width, requests, exceeding FROM asked ORDER BY requests DESC, width LIMIT $1", WIDTHS, "iii"),
        limited(
            "SELECT s.url, w.width, s.width, w.requests FROM widths w CROSS JOIN sources s \
             WHERE w.exceeds = 1 AND s.source_key = w.source_key AND s.url IS NOT NULL ORDER BY w.requests DESC LIMIT $1",
            TOP,
            "tiii",
        ),
        // In this order whatever the planner has gathered: few sources, their variants, the others of the same.
        limited(
            "WITH top AS (SELECT source_key FROM sources WHERE url IS NOT NULL ORDER BY hits DESC, source_key DESC LIMIT $1), \
             pairs AS (SELECT a.bytes AS a_bytes, w.bytes AS w_bytes, a.render_us AS a_us, w.render_us AS w_us, \
             CASE WHEN a.render_us + w.render_us IS NULL THEN 0 ELSE 1 END AS timed \
             FROM top CROSS JOIN variants a CROSS JOIN variants w WHERE a.source_key = top.source_key AND a.format = 'avif' \
             AND w.source_key = top.source_key AND w.format = 'webp' AND w.content = a.content AND w.output = a.output \
             AND w.geometry = a.geometry AND w.width = a.width AND w.height = a.height \
             AND coalesce(w.quality, -1) = coalesce(a.quality, -1) AND coalesce(w.background, -1) = coalesce(a.background, -1)) \
             SELECT count(*), CAST(coalesce(sum(a_bytes), 0) AS BIGINT), CAST(coalesce(sum(w_bytes), 0) AS BIGINT), \
             CAST(coalesce(sum(timed), 0) AS BIGINT), CAST(coalesce(sum(timed * a_us), 0) AS BIGINT), \
             CAST(coalesce(sum(timed * w_us), 0) AS BIGINT) FROM pairs",
            COMPARED,
            "iiiiii",
        ),
    ]
}

/// One of every kind, with the index by which it comes to its first row.
pub(super) fn kinds() -> Vec<(Question, Option<&'static str>)> {
    let orders =
        [(Sort::Hits, "sources_by_hits"), (Sort::Bytes, "sources_by_bytes"), (Sort::Recent, "sources_by_last_seen")];
    let prefix = || "https://host7.example.com/".to_owned();
    let mut all = vec![(named(&prefix()), Some("sources_by_start"))];
    for (sort, index) in orders {
        let cursor = Some(Cursor::new(sort, 5_000, [7; 32]));
        let first = SourceQuery { sort, limit: 100, ..SourceQuery::default() };
        all.push((sources(&first, false), Some(index)));
        all.push((sources(&SourceQuery { cursor, ..first.clone() }, false), Some(index)));
        let few = SourceQuery { prefix: prefix(), ..first };
        all.push((sources(&few, false), Some("sources_by_start")));
        all.push((sources(&SourceQuery { prefix: "https://".into(), ..few }, true), Some(index)));
    }
    let key = SourceKey::of_normalised("https://host7.example.com/a");
    all.extend([(record(&key), None), (variants(&key, 100), None)]);
    let by = [
        None,
        None,
        Some("sources_by_hits"),
        Some("variants_unused"),
        None,
        Some("widths_exceeding"),
        Some("sources_by_hits"),
    ];
    all.extend(stats().into_iter().zip(by));
    all
}

fn each<T>(rows: Vec<Row>, read: impl Fn(&mut Row) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    rows.into_iter().map(|mut row| read(&mut row)).collect()
}

pub(super) fn read_stats(answers: Vec<Vec<Row>>) -> Result<Stats, Error> {
    let [totals, formats, top, unused, widths, exceeding, pairs] = answers.try_into().map_err(|_| Error::Damaged)?;
    let text = |row: &mut Row| row.text().map(Option::unwrap_or_default);
    let mut stats = Stats::default();
    for (name, value) in each(totals, |row| Ok((text(row)?, row.count()?)))? {
        match name.as_str() {
            "sources" => stats.sources = value,
            "source_bytes" => stats.source_bytes = value,
            name => stats.answered.extend(name.strip_prefix("answered.").map(|way| (way.to_owned(), value))),
        }
    }
    stats.formats = each(formats, |row| {
        Ok(FormatStats {
            format: text(row)?,
            variants: row.count()?,
            bytes: row.count()?,
            renders: row.count()?,
            render_us: row.count()?,
            render_pixels: row.count()?,
            requests: row.count()?,
            hits: row.count()?,
            served_bytes: row.count()?,
            saved_bytes: row.count()?,
            unused: row.count()?,
            unused_bytes: row.count()?,
        })
    })?;
    stats.top_sources = each(top, |row| read_summary(row).map(|(.., summary)| summary))?;
    stats.unused = each(unused, |row| {
        Ok(Unused {
            url: text(row)?,
            format: text(row)?,
            width: row.count()?,
            bytes: row.count()?,
            created_at_ms: row.count()?,
        })
    })?;
    stats.widths =
        each(widths, |row| Ok(WidthStats { width: row.count()?, requests: row.count()?, exceeding: row.count()? }))?;
    stats.exceeding = each(exceeding, |row| {
        Ok(Exceeding { url: text(row)?, width: row.count()?, source_width: row.count()?, requests: row.count()? })
    })?;
    let pairs = each(pairs, |row| {
        Ok(AvifAgainstWebp {
            pairs: row.count()?,
            avif_bytes: row.count()?,
            webp_bytes: row.count()?,
            timed: row.count()?,
            avif_render_us: row.count()?,
            webp_render_us: row.count()?,
        })
    })?;
    stats.avif_against_webp = pairs.into_iter().next().unwrap_or_default();
    Ok(stats)
}
