-- Which users were added under which Idempotency-Key: a row of the same transaction. No foreign key: the answer stays the same when the user is gone.
CREATE TABLE idempotency_keys (
    key         BLOB    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    user_id     INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_ends_at ON idempotency_keys (ends_at);
