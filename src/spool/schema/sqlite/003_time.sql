-- What the clock decides of what waits, whatever attempts come to.

-- When it is looked at next: to tell its sender something, or because its time is over. NULL: never.
ALTER TABLE recipient ADD COLUMN look_at       INTEGER;
-- An attempt may have delivered it, and nobody knows.
ALTER TABLE recipient ADD COLUMN doubtful      INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1));
-- Attempts since the relay's start of that name; those of another start count no more.
ALTER TABLE recipient ADD COLUMN start         INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipient ADD COLUMN of_late       INTEGER NOT NULL DEFAULT 0;

UPDATE recipient SET look_at = next_attempt_at, doubtful = coalesce(last_reply, '') LIKE 'possibly delivered: %'
    WHERE finished_at IS NULL;

DROP INDEX recipient_held;
CREATE INDEX recipient_look ON recipient (look_at) WHERE look_at IS NOT NULL;
