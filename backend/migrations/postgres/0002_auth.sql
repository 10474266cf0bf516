ALTER TABLE users
    -- What the user may do.
    ADD COLUMN role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    -- A PHC string. A user without one cannot log in.
    ADD COLUMN password_hash TEXT,
    -- Counts the passwords. A session that began under another one is over.
    ADD COLUMN credentials BIGINT NOT NULL DEFAULT 1;

-- Sessions, where no Redis keeps them. Times are seconds since 1970, by this database's own clock. No foreign key: a refresh finds out by itself that its user is
-- gone, and a login must not fail because that happened just now.
CREATE TABLE sessions (
    id          TEXT   PRIMARY KEY,
    user_id     BIGINT NOT NULL,
    credentials BIGINT NOT NULL,
    secret      BYTEA  NOT NULL,
    ends_at     BIGINT NOT NULL
);
CREATE INDEX sessions_ends_at ON sessions (ends_at);

-- Failed logins of an address or account within a window of time.
CREATE TABLE login_failures (
    key      TEXT   PRIMARY KEY,
    failures BIGINT NOT NULL,
    ends_at  BIGINT NOT NULL
);
CREATE INDEX login_failures_ends_at ON login_failures (ends_at);
