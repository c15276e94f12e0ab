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

-- Whoever has made something of the log elsewhere learns here what to forget of it, in the order of numbers.
CREATE TABLE forgotten (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    reference INTEGER NOT NULL,
    is_purged INTEGER NOT NULL CHECK (is_purged IN (0, 1))
) STRICT;
