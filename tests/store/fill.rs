//! Statements that fill a store with many rows: `sources` sources, ten variants and five asked widths each, and the sums over
//! them. Law: the database makes the rows itself; nothing here knows a client, so that tests and benches can share it.

/// Rows made by the database itself: `{numbers}` is its series from 0 up to `{count}`, `{hash}` makes a key of a number.
const FILL: &str = "
INSERT INTO sources (source_key, url, host, content, format, width, height, has_alpha, frames, bytes, decode_cost, checked_at,
    ttl_ns, early_ns, stale_while_revalidate_ns, stale_if_error_ns, storable, epoch, first_seen, last_seen, requests, hits)
SELECT {hash:n}, 'https://' || 'host' || (n % 50) || '.example.com/pictures/' || n || '.jpg', 'host' || (n % 50) || '.example.com',
    {hash:n}, 'jpeg', 4000, 3000, 0, 1, 100000 + (n * 7919) % 900000, 9, 1, 2, 3, 4, 5, 1, 7, 8, 1000000 + (n * 104729) % 1000000,
    (n * 31) % 10007, (n * 31) % 10007 FROM {numbers:sources};
INSERT INTO variants (source_key, variant_key, content, output, format, geometry, width, height, quality, bytes, render_us,
    created_at, last_hit, requests, hits)
SELECT {hash:n / 10}, {hash:n}, {hash:n / 10}, 'still', CASE WHEN n % 2 = 0 THEN 'avif' ELSE 'webp' END, 'scale',
    100 + n % 10 * 100, 100, 75, 1000 + (n * 7919) % 90000, 20000, 1, 1, n % 3, n % 3 FROM {numbers:variants};
INSERT INTO widths (source_key, width, requests, exceeds)
SELECT {hash:n / 5}, 100 + n % 5 * 1000, 1 + (n * 7919) % 1000, CASE WHEN n % 5 = 4 THEN 1 ELSE 0 END FROM {numbers:widths};
DELETE FROM totals; DELETE FROM formats; DELETE FROM asked;
";
/// The sums over it, as the migrations make them.
const SUMS: &str = include_str!("../../src/store/migrations/0002_questions.sql");
/// What of them has another meaning since.
const UNUSED: &str = include_str!("../../src/store/migrations/0004_starts.sql");

fn rows(sources: u64, hash: &str, numbers: &str) -> String {
    let mut sql = FILL.to_owned();
    for (name, expression) in [("{hash:n}", "n"), ("{hash:n / 10}", "n / 10"), ("{hash:n / 5}", "n / 5")] {
        sql = sql.replace(name, &hash.replace("{n}", expression));
    }
    for (name, count) in [("sources", sources), ("variants", sources * 10), ("widths", sources * 5)] {
        sql = sql.replace(&format!("{{numbers:{name}}}"), &numbers.replace("{count}", &(count - 1).to_string()));
    }
    let sums = SUMS.split("INSERT INTO totals").nth(1).and_then(|text| text.split("CREATE INDEX").next());
    let unused = UNUSED.split("UPDATE formats").nth(1).expect("sums");
    format!("{sql} INSERT INTO totals{} UPDATE formats{unused}", sums.expect("sums"))
}

/// Thirty-two octets that begin with the number, spread over the index as hashes are.
const SQLITE_HASH: &str = "CAST(printf('%08x%024d', ({n}) * 2654435761 % 4294967296, {n}) AS BLOB)";
const SQLITE_NUMBERS: &str = "(WITH RECURSIVE series (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) SELECT n FROM series)";
const POSTGRES_HASH: &str = "sha256(convert_to(({n})::text, 'UTF8'))";
const POSTGRES_NUMBERS: &str = "generate_series(0::bigint, {count}) AS series (n)";

/// For SQLite.
pub(crate) fn sqlite(sources: u64) -> String {
    format!("BEGIN; {}; COMMIT;", rows(sources, SQLITE_HASH, SQLITE_NUMBERS))
}

/// For PostgreSQL.
pub(crate) fn postgres(sources: u64) -> String {
    rows(sources, POSTGRES_HASH, POSTGRES_NUMBERS)
}
