-- Workstations and gateways as they were met, so that an administrator sees which are still to be moved.

CREATE TABLE workstation (
    -- of a room, or a gateway
    origin        TEXT    NOT NULL CHECK (origin IN ('room', 'gateway')),
    of            TEXT    NOT NULL,
    -- by what the routing table knew it
    kind          TEXT    NOT NULL CHECK (kind IN ('certificate', 'user', 'address')),
    name          TEXT    NOT NULL,
    address       TEXT    NOT NULL,              -- where it was last
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,              -- to the minute
    tls           TEXT,                          -- the last time; NULL: plain text
    certificate_ends_at INTEGER,
    -- when it last did what strictness may refuse; it is unknown no longer once the table names it
    missing_tls_at         INTEGER,
    bare_newlines_at       INTEGER,
    unknown_workstation_at INTEGER,
    PRIMARY KEY (origin, of, kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX workstation_seen ON workstation (last_seen_at);
CREATE INDEX workstation_unknown ON workstation (unknown_workstation_at, last_seen_at)
    WHERE unknown_workstation_at IS NOT NULL;
