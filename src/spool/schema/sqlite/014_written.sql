-- Whether the routing table may be another one, without reading it: it can have ten thousand rooms. A
-- revision is never changed by us, but a person may mend one by hand, and it keeps its number.

CREATE TABLE revision_written (
    count INTEGER NOT NULL                  -- how often a revision was written, whoever did it
) STRICT;
INSERT INTO revision_written VALUES (0);

CREATE TRIGGER revision_inserted AFTER INSERT ON revision BEGIN
    UPDATE revision_written SET count = count + 1;
END;
CREATE TRIGGER revision_updated AFTER UPDATE ON revision BEGIN
    UPDATE revision_written SET count = count + 1;
END;
