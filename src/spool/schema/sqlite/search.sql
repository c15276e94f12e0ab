-- The search index, in a file of its own. Made from the store alone, and made anew whenever it is in doubt.

-- How far it has come. Without a row: nowhere.
CREATE TABLE position (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    -- The last event of the store that is known here.
    sequence  INTEGER NOT NULL,
    reference INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    -- What was there before is filled in from the newest to the oldest: nothing below this reference yet.
    below     INTEGER NOT NULL
) STRICT;

-- Words of the log, in lower case, each once. Roles: a bit for each role that it was seen in. Volumes: a bit for
-- each volume that has it; the 65th shares one with the first.
CREATE TABLE term (
    id      INTEGER PRIMARY KEY,
    text    TEXT    NOT NULL UNIQUE,
    roles   INTEGER NOT NULL,
    volumes INTEGER NOT NULL
) STRICT;

-- Any three letters in a row that a term has.
CREATE VIRTUAL TABLE part USING fts5 (
    text, content = '', columnsize = 0, detail = none, tokenize = 'trigram'
);
-- What is deleted goes from the file at once.
INSERT INTO part (part, rank) VALUES ('secure-delete', 1);

-- The log by time: 2^32 ms of it in tables of their own (search_volume.sql).
CREATE TABLE volume (
    number    INTEGER PRIMARY KEY,
    -- What entries from the one id to below the other are found by was forgotten, and is read anew. NULL: nothing.
    refill    INTEGER,
    refill_to INTEGER,
    -- What was written in many pieces is one.
    packed    INTEGER NOT NULL CHECK (packed IN (0, 1))
) STRICT;
