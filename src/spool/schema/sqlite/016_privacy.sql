-- Who has read the log. Other rows are not in it, and pay for it no more than a comparison.
CREATE INDEX event_reading ON event (sequence) WHERE kind = 'log read';
CREATE INDEX event_retention ON event (sequence) WHERE kind = 'log retention';

-- How far the log was made to forget: all references up to these, but for those that were left. And what was done
-- since the last event that says so.
CREATE TABLE retention (
    pseudonymised_to INTEGER NOT NULL,
    purged_to        INTEGER NOT NULL,
    masked           INTEGER NOT NULL,
    purged           INTEGER NOT NULL,
    -- when it was last looked at, by a clock that could be believed
    looked_at        INTEGER
) STRICT;
INSERT INTO retention VALUES (-1, -1, 0, 0, NULL);

-- What waited, was held, or lay in quarantine when its turn came.
CREATE TABLE retention_left (
    reference INTEGER PRIMARY KEY
) STRICT;

-- Days (since 1970, in UTC) of whose rows the search index has words yet that are to be forgotten. A day that comes
-- again gets another number, so that it is not taken for done by whoever did what there was before.
CREATE TABLE forgotten (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    day    INTEGER NOT NULL UNIQUE
) STRICT;
