-- What is known of sources, of the variants made of them, and of the widths they are asked for.
-- {bytes} and {text} are the back end's names of octets and of text that is ordered by its octets.

-- One row a source. Without a url it is only counted so far; without content there is no record to come back to.
CREATE TABLE sources (
    source_key {bytes} PRIMARY KEY,
    url {text},
    host {text},
    content {bytes},
    etag TEXT,
    last_modified TEXT,
    format TEXT,
    width BIGINT,
    height BIGINT,
    has_alpha BIGINT,
    frames BIGINT,
    bytes BIGINT,
    decode_cost BIGINT,
    placeholder {bytes},
    checked_at BIGINT,
    ttl_ns BIGINT,
    early_ns BIGINT,
    stale_while_revalidate_ns BIGINT,
    stale_if_error_ns BIGINT,
    storable BIGINT,
    epoch BIGINT,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    purged_at BIGINT,
    purges BIGINT NOT NULL DEFAULT 0,
    requests BIGINT NOT NULL DEFAULT 0,
    hits BIGINT NOT NULL DEFAULT 0
);

-- One row a variant of a source: equal pictures under two URLs share their bytes, not their rows. Without a format it is
-- only counted so far.
CREATE TABLE variants (
    source_key {bytes} NOT NULL,
    variant_key {bytes} NOT NULL,
    content {bytes},
    output TEXT,
    format TEXT,
    geometry TEXT,
    width BIGINT,
    height BIGINT,
    quality BIGINT,
    background BIGINT,
    bytes BIGINT,
    render_us BIGINT,
    effort BIGINT,
    created_at BIGINT NOT NULL,
    last_hit BIGINT,
    requests BIGINT NOT NULL DEFAULT 0,
    hits BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (source_key, variant_key)
);

CREATE TABLE widths (
    source_key {bytes} NOT NULL,
    width BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    exceeds BIGINT NOT NULL,
    PRIMARY KEY (source_key, width)
);

-- The newest batch of each process that writes: a batch whose answer was lost is not counted twice.
CREATE TABLE writers (
    writer BIGINT PRIMARY KEY,
    batch BIGINT NOT NULL,
    written_at BIGINT NOT NULL
);

-- One row, which every writing transaction updates first: they follow each other, so sums stay exact and nothing deadlocks.
CREATE TABLE gate (
    id BIGINT PRIMARY KEY,
    turns BIGINT NOT NULL
);
INSERT INTO gate (id, turns) VALUES (0, 0);
