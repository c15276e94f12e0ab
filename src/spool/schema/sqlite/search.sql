-- The search index, in a file of its own. Made from the store alone, and made anew whenever it is in doubt.

-- The last event of the store that is known here.
CREATE TABLE position (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    sequence  INTEGER NOT NULL,
    reference INTEGER NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
INSERT INTO position VALUES (1, 0, 0, 0);

-- A row of the log. The id: milliseconds since 1970 and a number among those of the same millisecond.
CREATE TABLE entry (
    id        INTEGER PRIMARY KEY,
    reference INTEGER NOT NULL,
    place     INTEGER NOT NULL              -- of the recipient; below zero: -1 - id of the refusal
) STRICT;

-- Words of the log, in lower case, each once. Roles: a bit for each role that it was seen in.
CREATE TABLE term (
    id    INTEGER PRIMARY KEY,
    text  TEXT    NOT NULL UNIQUE,
    roles INTEGER NOT NULL
) STRICT;

-- Any three letters in a row that a term has.
CREATE VIRTUAL TABLE part USING fts5 (text, content = '', columnsize = 0, detail = none, tokenize = 'trigram');

-- What each entry is found by, as tokens.
CREATE VIRTUAL TABLE doc USING fts5 (tokens, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
