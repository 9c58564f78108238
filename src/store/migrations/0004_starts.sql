-- A row of an index has a limit (2,704 octets on PostgreSQL) that a URL has not: sources are found by how they begin.
DROP INDEX sources_by_url;
CREATE INDEX sources_by_start ON sources (substr(url, 1, 512));

-- Never asked for again is what was asked for once or not at all; a second request that came too early to be a hit is one too.
DROP INDEX variants_unused;
CREATE INDEX variants_unused ON variants (bytes) WHERE requests <= 1 AND bytes IS NOT NULL;
UPDATE formats SET
    unused = (SELECT count(*) FROM variants v WHERE v.format = formats.format AND v.requests <= 1),
    unused_bytes = (SELECT CAST(coalesce(sum(v.bytes), 0) AS BIGINT) FROM variants v WHERE v.format = formats.format AND v.requests <= 1);
