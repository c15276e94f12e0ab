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

-- The log by time: 2^32 ms of it in tables of their own (search_volume.sql).
CREATE TABLE volume (
    number INTEGER PRIMARY KEY,
    -- Its words were forgotten, and are read anew from here on. NULL: they are all there.
    refill INTEGER,
    -- What was written in many pieces is one.
    packed INTEGER NOT NULL CHECK (packed IN (0, 1))
) STRICT;
