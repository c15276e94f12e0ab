-- How the engines stand, as the running relay saw it last.

CREATE TABLE engine (
    name           TEXT    PRIMARY KEY,
    position       INTEGER NOT NULL,             -- in the settings
    at             INTEGER NOT NULL,             -- when this was written
    kind           TEXT    NOT NULL,
    down           TEXT,                         -- why; NULL: it is up
    since          INTEGER NOT NULL,
    version        TEXT,
    signatures     TEXT,
    signatures_at  INTEGER,
    self_test      TEXT,                         -- how the last one ended
    self_tested_at INTEGER,
    p50_ms         INTEGER,
    p99_ms         INTEGER,
    CHECK ((self_test IS NULL) = (self_tested_at IS NULL))
) STRICT, WITHOUT ROWID;
