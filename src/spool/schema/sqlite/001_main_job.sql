-- What Ilbud remembers. Times are milliseconds since 1970-01-01T00:00:00Z; references are 60-bit
-- numbers that grow with time, so a message's key is also its place in the order of the log.

CREATE TABLE message (
    reference   INTEGER PRIMARY KEY,
    accepted_at INTEGER NOT NULL,
    sender      TEXT,                       -- NULL is the null sender
    sender_room TEXT,
    client      TEXT    NOT NULL,           -- empty: written by the relay itself
    smtputf8    INTEGER NOT NULL CHECK (smtputf8 IN (0, 1)),
    eight_bit   INTEGER NOT NULL CHECK (eight_bit IN (0, 1)),
    size        INTEGER NOT NULL CHECK (size >= 0),
    subject     TEXT,
    message_id  TEXT
) STRICT;

-- The bytes, apart from the message, so that they can go when its last recipient is finished.
CREATE TABLE content (
    reference INTEGER PRIMARY KEY,
    trace     BLOB NOT NULL,
    bytes     BLOB NOT NULL
) STRICT;

CREATE TABLE recipient (
    reference       INTEGER NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 0),
    address         TEXT    NOT NULL,
    room            TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('unscanned', 'queued', 'deferred', 'held',
                        'quarantined', 'delivered', 'failed', 'cancelled')),
    attempts        INTEGER NOT NULL CHECK (attempts >= 0),
    next_attempt_at INTEGER NOT NULL,
    -- When a worker may take it: next_attempt_at, or the end of a lease. NULL: nobody may.
    due_at          INTEGER,
    last_reply      TEXT,
    finished_at     INTEGER,
    PRIMARY KEY (reference, number),
    CHECK ((finished_at IS NOT NULL) = (state IN ('delivered', 'failed', 'cancelled'))),
    CHECK ((due_at IS NOT NULL) = (state IN ('queued', 'deferred')))
) STRICT, WITHOUT ROWID;

CREATE INDEX recipient_waiting ON recipient (room, due_at) WHERE finished_at IS NULL;

CREATE TABLE attachment (
    reference INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    size      INTEGER NOT NULL CHECK (size >= 0),
    sha256    TEXT    NOT NULL CHECK (length(sha256) = 64),
    PRIMARY KEY (reference, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusal (
    id             INTEGER PRIMARY KEY,
    reference      INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    client         TEXT    NOT NULL,
    sender         TEXT,
    sender_room    TEXT,
    recipient      TEXT,
    recipient_room TEXT,
    subject        TEXT,
    message_id     TEXT,
    size           INTEGER,
    reply          TEXT    NOT NULL,
    count          INTEGER NOT NULL CHECK (count >= 1)
) STRICT;

CREATE INDEX refusal_reference ON refusal (reference);

-- In the order of commit. A row is never changed.
CREATE TABLE event (
    sequence  INTEGER PRIMARY KEY,
    reference INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    recipient TEXT,
    details   TEXT    NOT NULL              -- JSON
) STRICT;

CREATE INDEX event_reference ON event (reference);

CREATE TABLE revision (
    revision INTEGER PRIMARY KEY CHECK (revision >= 1),
    at       INTEGER NOT NULL,
    by       TEXT    NOT NULL,
    reason   TEXT,
    summary  TEXT    NOT NULL,
    routes   TEXT    NOT NULL               -- the whole table as TOML
) STRICT;
