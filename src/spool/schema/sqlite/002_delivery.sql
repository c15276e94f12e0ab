-- What senders ask for beside the transport, how late a recipient is, and lanes by urgency.

ALTER TABLE message ADD COLUMN require_tls      INTEGER NOT NULL DEFAULT 0 CHECK (require_tls IN (0, 1));
ALTER TABLE message ADD COLUMN deliver_by       INTEGER;     -- RFC 2852: by when
ALTER TABLE message ADD COLUMN deliver_by_mode  TEXT CHECK (deliver_by_mode IN ('R', 'N', 'RT', 'NT'));
ALTER TABLE message ADD COLUMN ret              TEXT CHECK (ret IN ('FULL', 'HDRS'));
ALTER TABLE message ADD COLUMN envelope_id      TEXT;        -- xtext

ALTER TABLE recipient ADD COLUMN priority    INTEGER NOT NULL DEFAULT 0
    CHECK (priority BETWEEN -9 AND 9);
ALTER TABLE recipient ADD COLUMN notify      TEXT;           -- NULL: nothing was said
ALTER TABLE recipient ADD COLUMN original    TEXT;           -- ORCPT as it came
-- The acceptance by today's clock; NULL: the clock was not set since.
ALTER TABLE recipient ADD COLUMN waits_since INTEGER;
-- 1: the sender was told that it is late; 2: that it was not delivered by the time named.
ALTER TABLE recipient ADD COLUMN told        INTEGER NOT NULL DEFAULT 0 CHECK (told BETWEEN 0 AND 3);

-- From here on eight_bit is what the client declared; before, octets beyond ASCII were enough. What
-- waits goes out as it came in.
UPDATE message SET eight_bit = 0
    WHERE reference IN (SELECT reference FROM recipient WHERE finished_at IS NULL);

DROP INDEX recipient_waiting;
CREATE INDEX recipient_waiting ON recipient (room, priority, due_at) WHERE finished_at IS NULL;
-- Few are held, so this costs mail nothing.
CREATE INDEX recipient_held ON recipient (reference) WHERE state = 'held';
