-- What the user may do.
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin'));
-- A PHC string. A user without one cannot log in.
ALTER TABLE users ADD COLUMN password_hash TEXT;
-- Counts the passwords. A session that began under another one is over.
ALTER TABLE users ADD COLUMN credentials INTEGER NOT NULL DEFAULT 1;

-- Sessions, where no Redis keeps them. Times are seconds since 1970. No foreign key: a refresh finds out by itself that its user is gone, and a login must not fail
-- because that happened just now.
CREATE TABLE sessions (
    id          TEXT    PRIMARY KEY,
    user_id     INTEGER NOT NULL,
    credentials INTEGER NOT NULL,
    secret      BLOB    NOT NULL,
    ends_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_ends_at ON sessions (ends_at);

-- Failed logins of an address or account within a window of time.
CREATE TABLE login_failures (
    key      TEXT    PRIMARY KEY,
    failures INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX login_failures_ends_at ON login_failures (ends_at);
