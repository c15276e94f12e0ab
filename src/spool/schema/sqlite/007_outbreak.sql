-- What named persons put in force for a while, and who had which file.

CREATE TABLE measure (
    number    INTEGER PRIMARY KEY,
    reference INTEGER NOT NULL UNIQUE,
    kind      TEXT    NOT NULL CHECK (kind IN ('hash', 'file', 'subject', 'sender',
                  'hold-attachments', 'exception')),
    value     TEXT,                          -- NULL: of all rooms
    opened_at INTEGER NOT NULL,
    by        TEXT    NOT NULL,
    reason    TEXT,
    until     INTEGER NOT NULL,              -- it ends by itself
    closed_at INTEGER,                       -- or was ended before
    closed_by TEXT,
    CHECK (opened_at < until),
    CHECK (value IS NOT NULL OR kind = 'hold-attachments'),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
) STRICT;

CREATE INDEX measure_open ON measure (until) WHERE closed_at IS NULL;

-- Refused messages have attachments too, under their refusals' reference.
CREATE INDEX attachment_sha256 ON attachment (sha256);
CREATE INDEX attachment_name ON attachment (name);
-- Few messages have malware in them, so this costs mail nothing.
CREATE INDEX event_malware ON event (reference) WHERE instr(details, '"malware":') > 0;
CREATE INDEX refusal_malware ON refusal (reference) WHERE instr(lower(reply), 'malware') > 0;
