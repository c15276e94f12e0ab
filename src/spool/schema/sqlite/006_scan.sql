-- What waits for its verdict, and what was caught.

-- A message that is to be scanned, or scanned again. With its verdict the row is gone.
CREATE TABLE scan (
    reference INTEGER PRIMARY KEY,
    priority  INTEGER NOT NULL CHECK (priority BETWEEN -9 AND 9),
    size      INTEGER NOT NULL CHECK (size >= 0),
    -- NULL: not by itself, only once somebody asks for it
    due_at    INTEGER,
    attempts  INTEGER NOT NULL DEFAULT 0,
    -- of these, those that stalled or killed an engine which answered for others
    stalls    INTEGER NOT NULL DEFAULT 0,
    reason    TEXT,                              -- why the last one came to nothing
    held_by   INTEGER,                           -- the outbreak measure that holds it until then
    excused   INTEGER NOT NULL DEFAULT 0 CHECK (excused IN (0, 1))   -- from such measures
) STRICT;

CREATE INDEX scan_due ON scan (priority DESC, reference) WHERE due_at IS NOT NULL;

-- A message of which at least one recipient is quarantined.
CREATE TABLE quarantine (
    reference INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    malware   TEXT    NOT NULL,
    engine    TEXT    NOT NULL,
    reason    TEXT    NOT NULL
) STRICT;
