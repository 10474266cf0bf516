-- AUTOINCREMENT: the id of a deleted user is never given to another one, so that caches, links and ETags cannot mix them up.
CREATE TABLE users (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT    NOT NULL,
    email   TEXT    NOT NULL,
    version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- E-mail addresses are ASCII (checked before they come here), for which lower() is exact.
CREATE UNIQUE INDEX users_email ON users (lower(email));
