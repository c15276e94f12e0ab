-- What is inside of attachments, of refused messages too. What came before this is not known.

CREATE TABLE member (
    reference INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    within    TEXT    NOT NULL,              -- the attachment's name
    name      TEXT    NOT NULL,              -- its path there
    size      INTEGER CHECK (size >= 0),     -- NULL, and no digest: it was not looked at whole
    sha256    TEXT    CHECK (length(sha256) = 64),
    kind      TEXT    NOT NULL,
    PRIMARY KEY (reference, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX member_sha256 ON member (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX member_name ON member (name);
