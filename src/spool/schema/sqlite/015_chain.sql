-- What shows that the log is as it was written (src/evidence). Rows from before this have none of it.

-- Which rows of other tables the row speaks for: message, attachments, members:FROM-TO, refusal:ID.
ALTER TABLE event ADD COLUMN covers TEXT;
-- What the salts of its fields come from. NULL: some of them were masked for good, see blinded.
ALTER TABLE event ADD COLUMN seed   BLOB CHECK (length(seed) = 16);
-- Of all rows up to this one.
ALTER TABLE event ADD COLUMN digest BLOB CHECK (length(digest) = 32);
-- Two octets of each field's commitment, by name: they tell which field was changed.
ALTER TABLE event ADD COLUMN marks  BLOB;

-- One row: where the chain begins, how many rows there were before it, and the name of this log.
CREATE TABLE chain (
    first  INTEGER NOT NULL,
    before INTEGER NOT NULL,
    log    BLOB    NOT NULL CHECK (length(log) = 32)
) STRICT;

INSERT INTO chain SELECT coalesce(max(sequence), 0) + 1, count(*), randomblob(32) FROM event;

-- What the relay has signed. A row is never changed.
CREATE TABLE head (
    head INTEGER PRIMARY KEY,
    last INTEGER NOT NULL UNIQUE,           -- the last row that it covers
    text TEXT    NOT NULL                   -- JSON
) STRICT;

-- Rows of which fields were masked for good: the salts of what remains, and the bare commitments of the others;
-- of rows that were purged the hash and the digest alone.
CREATE TABLE blinded (
    sequence INTEGER PRIMARY KEY,
    leaves   TEXT,                          -- JSON
    hash     BLOB CHECK (length(hash) = 32),
    digest   BLOB CHECK (length(digest) = 32),
    CHECK ((leaves IS NULL) <> (hash IS NULL) AND (hash IS NULL) = (digest IS NULL))
) STRICT;
