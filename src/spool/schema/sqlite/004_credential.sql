-- Users of workstations: what is kept in the place of their passwords.

CREATE TABLE credential (
    user              TEXT    PRIMARY KEY,
    since             INTEGER NOT NULL,
    used_at           INTEGER,              -- a login of late, to the minute; NULL: never
    -- SCRAM-SHA-256 (RFC 5802)
    scram_salt        BLOB    NOT NULL,
    scram_rounds      INTEGER NOT NULL CHECK (scram_rounds >= 4096),
    stored_key        BLOB    NOT NULL CHECK (length(stored_key) = 32),
    server_key        BLOB    NOT NULL CHECK (length(server_key) = 32),
    -- argon2id (RFC 9106)
    argon2id_salt     BLOB    NOT NULL,
    argon2id_kibibytes INTEGER NOT NULL,
    argon2id_passes   INTEGER NOT NULL,
    argon2id_lanes    INTEGER NOT NULL,
    argon2id_hash     BLOB    NOT NULL CHECK (length(argon2id_hash) = 32)
) STRICT, WITHOUT ROWID;

-- What users who do not exist are made of.
CREATE TABLE secret (
    name   TEXT PRIMARY KEY,
    octets BLOB NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO secret VALUES ('nobody', randomblob(32));

-- Who tried to log in.
ALTER TABLE refusal ADD COLUMN user TEXT;
