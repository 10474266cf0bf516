-- Changes of users of which the cache in Redis has yet to hear: a row of the transaction that made the change, removed when Redis has been told. AUTOINCREMENT:
-- Redis remembers for a while which rows it was told of.
CREATE TABLE outbox (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    -- The version that the change has made; the highest number there is when the user was deleted.
    version INTEGER NOT NULL,
    made_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

-- Which database this is, in the names of what is kept in Redis: two that share one must not find each other's users there.
CREATE TABLE home (name TEXT NOT NULL) STRICT;
INSERT INTO home SELECT lower(hex(randomblob(16)));
