-- Sums that are kept while rows are written, and indexes, so that no question walks through a million rows.

CREATE TABLE totals (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE formats (
    format TEXT PRIMARY KEY,
    variants BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    renders BIGINT NOT NULL,
    render_us BIGINT NOT NULL,
    render_pixels BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    hits BIGINT NOT NULL,
    served_bytes BIGINT NOT NULL,
    saved_bytes BIGINT NOT NULL,
    unused BIGINT NOT NULL,
    unused_bytes BIGINT NOT NULL
);

CREATE TABLE asked (
    width BIGINT PRIMARY KEY,
    requests BIGINT NOT NULL,
    exceeding BIGINT NOT NULL
);

INSERT INTO totals (name, value)
SELECT 'sources', count(*) FROM sources WHERE url IS NOT NULL
UNION ALL SELECT 'source_bytes', CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM sources WHERE url IS NOT NULL;

INSERT INTO formats (format, variants, bytes, renders, render_us, render_pixels, requests, hits, served_bytes, saved_bytes, unused, unused_bytes)
SELECT v.format, count(*), CAST(sum(v.bytes) AS BIGINT), count(v.render_us), CAST(coalesce(sum(v.render_us), 0) AS BIGINT),
    CAST(coalesce(sum(CASE WHEN v.render_us IS NULL THEN 0 ELSE v.width * v.height END), 0) AS BIGINT),
    CAST(sum(v.requests) AS BIGINT), CAST(sum(v.hits) AS BIGINT), CAST(sum(v.requests * v.bytes) AS BIGINT),
    CAST(sum(v.requests * CASE WHEN s.bytes > v.bytes THEN s.bytes - v.bytes ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN v.hits = 0 THEN 1 ELSE 0 END) AS BIGINT), CAST(sum(CASE WHEN v.hits = 0 THEN v.bytes ELSE 0 END) AS BIGINT)
FROM variants v LEFT JOIN sources s ON s.source_key = v.source_key
WHERE v.format IS NOT NULL
GROUP BY v.format;

INSERT INTO asked (width, requests, exceeding)
SELECT width, CAST(sum(requests) AS BIGINT), CAST(sum(CASE WHEN exceeds = 1 THEN requests ELSE 0 END) AS BIGINT) FROM widths GROUP BY width;

CREATE INDEX sources_by_url ON sources (url);
CREATE INDEX sources_by_host ON sources (host);
CREATE INDEX sources_by_hits ON sources (hits, source_key) WHERE url IS NOT NULL;
CREATE INDEX sources_by_bytes ON sources (bytes, source_key) WHERE url IS NOT NULL;
CREATE INDEX sources_by_last_seen ON sources (last_seen, source_key);
CREATE INDEX variants_unused ON variants (bytes) WHERE hits = 0 AND bytes IS NOT NULL;
CREATE INDEX widths_exceeding ON widths (requests) WHERE exceeds = 1;
