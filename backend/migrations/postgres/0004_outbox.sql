-- Changes of users of which the cache in Redis has yet to hear: a row of the transaction that made the change, removed when Redis has been told.
CREATE TABLE outbox (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id BIGINT NOT NULL,
    -- The version that the change has made; the highest number there is when the user was deleted.
    version BIGINT NOT NULL,
    made_at BIGINT NOT NULL DEFAULT extract(epoch FROM now())::bigint
);

-- Which database this is, in the names of what is kept in Redis: two that share one must not find each other's users there.
CREATE TABLE home (name TEXT NOT NULL);
INSERT INTO home SELECT replace(gen_random_uuid()::text, '-', '');
