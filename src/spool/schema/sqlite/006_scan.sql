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
    excused   INTEGER NOT NULL DEFAULT 0 CHECK (excused IN (0, 1)),  -- from such measures
    -- counts up when somebody asks for a new scan: what came of one begun before that is void
    round     INTEGER NOT NULL DEFAULT 0
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

-- What waits from before was not scanned. Reports of our own are not.
INSERT INTO scan (reference, priority, size, due_at)
    SELECT m.reference, max(r.priority), m.size, 0 FROM message m JOIN recipient r ON r.reference = m.reference
        WHERE m.client <> '' AND r.state IN ('queued', 'deferred', 'held') GROUP BY m.reference;
UPDATE recipient SET state = 'unscanned', due_at = NULL
    WHERE state IN ('queued', 'deferred') AND reference IN (SELECT reference FROM scan);
