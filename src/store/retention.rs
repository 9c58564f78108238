//! Forgetting what was not seen for long, or for longest, as statements.
//!
//! Invariant: a source goes with all its rows, and the sums of what is there go down with it; what was counted of the past
//! stays counted.

use std::sync::Arc;
use std::time::SystemTime;

use super::engine::{Statement, Value};
use super::writing::{gate, millis};

/// Behind the gate nobody else writes, so every statement finds the same ones.
const GONE: &str = "(SELECT source_key FROM sources WHERE last_seen < $1 ORDER BY last_seen, source_key LIMIT $2)";

/// Removes `limit` sources at most, however lately they were seen if `before` does not say; the last statement changes one
/// row a source.
pub(super) fn expiry(before: Option<SystemTime>, limit: u32) -> Vec<Statement> {
    let values: Arc<[Value]> = Arc::new([before.map_or(i64::MAX, millis).into(), i64::from(limit).into()]);
    let formats = format!(
        "INSERT INTO formats (format, variants, bytes, renders, render_us, render_pixels, requests, hits, served_bytes, \
         saved_bytes, unused, unused_bytes) \
         SELECT format, -count(*), CAST(-sum(bytes) AS BIGINT), 0, 0, 0, 0, 0, 0, 0, \
         CAST(-sum(CASE WHEN requests <= 1 THEN 1 ELSE 0 END) AS BIGINT), \
         CAST(-sum(CASE WHEN requests <= 1 THEN bytes ELSE 0 END) AS BIGINT) \
         FROM variants WHERE format IS NOT NULL AND source_key IN {GONE} GROUP BY format \
         ON CONFLICT (format) DO UPDATE SET variants = formats.variants + excluded.variants, \
         bytes = formats.bytes + excluded.bytes, unused = formats.unused + excluded.unused, \
         unused_bytes = formats.unused_bytes + excluded.unused_bytes"
    );
    let totals = format!(
        "INSERT INTO totals (name, value) \
         SELECT 'sources', -count(*) FROM sources WHERE url IS NOT NULL AND source_key IN {GONE} \
         UNION ALL SELECT 'source_bytes', CAST(-coalesce(sum(bytes), 0) AS BIGINT) FROM sources \
         WHERE url IS NOT NULL AND source_key IN {GONE} \
         ON CONFLICT (name) DO UPDATE SET value = totals.value + excluded.value"
    );
    let removed = ["widths", "variants", "sources"];
    let removals = removed.map(|table| format!("DELETE FROM {table} WHERE source_key IN {GONE}"));
    let mut all = vec![gate()];
    // Those that may still write are told from those that may not by time alone.
    all.extend(
        before.map(|before| Statement::new("DELETE FROM writers WHERE written_at < $1", vec![millis(before).into()])),
    );
    let texts = [formats, totals].into_iter().chain(removals);
    all.extend(texts.map(|text| Statement::new(text, Arc::clone(&values))));
    all
}
