-- A volume of the search index; its number stands for the #.

-- A row of the log. The id: milliseconds since 1970 and a number among those of the same millisecond.
CREATE TABLE IF NOT EXISTS entry_# (
    id        INTEGER PRIMARY KEY,
    reference INTEGER NOT NULL,
    place     INTEGER NOT NULL,             -- of the recipient; below zero: -1 - id of the refusal
    stamp     INTEGER NOT NULL              -- of what it is found by
) STRICT;

-- What each entry is found by, as tokens.
CREATE VIRTUAL TABLE IF NOT EXISTS doc_# USING fts5 (
    tokens, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
