-- Changes of the routing table that do not simply count: those that somebody else must approve, and those
-- that are taken back unless they are confirmed. A revision itself is never changed.

CREATE TABLE approval (
    revision    INTEGER PRIMARY KEY REFERENCES revision,
    base        INTEGER NOT NULL REFERENCES revision, -- what was in force when it was proposed
    confirm_for INTEGER,                    -- ms; taken back so long after its approval unless confirmed
    is_approved INTEGER,                    -- NULL: nobody has decided
    decided_at  INTEGER,
    decided_by  TEXT,
    reason      TEXT,
    CHECK ((is_approved IS NULL) = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL))
) STRICT;

CREATE TABLE confirmation (
    revision     INTEGER PRIMARY KEY REFERENCES revision,
    back_to      INTEGER NOT NULL REFERENCES revision,
    since        INTEGER NOT NULL,          -- in force since
    until        INTEGER NOT NULL,          -- unless confirmed before
    confirmed_at INTEGER,
    confirmed_by TEXT,
    CHECK ((confirmed_at IS NULL) = (confirmed_by IS NULL))
) STRICT;

-- The revision whose table counts; NULL while there is none.
CREATE VIEW in_force AS SELECT max(revision) AS revision FROM revision
    WHERE revision NOT IN (SELECT revision FROM approval WHERE is_approved IS NOT 1);
