-- Why a recipient's message goes out that no scan found clean. NULL: one did; 0: a named person let it
-- out; otherwise the number of the exception that was open.
ALTER TABLE recipient ADD COLUMN waiver INTEGER;

-- Few go out so, and fewer wait: what an exception let through is found at its end.
CREATE INDEX recipient_waiver ON recipient (waiver) WHERE waiver > 0 AND finished_at IS NULL;

-- How often in a row an engine has said that it cannot look into it.
ALTER TABLE scan ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;

-- It came while there were engines: the built-in rules alone do not let it through.
ALTER TABLE scan ADD COLUMN owed INTEGER NOT NULL DEFAULT 0 CHECK (owed IN (0, 1));
