-- Which users were added under which Idempotency-Key: a row of the same transaction. No foreign key: the answer stays the same when the user is gone.
CREATE TABLE idempotency_keys (
    key         BYTEA  PRIMARY KEY,
    fingerprint BYTEA  NOT NULL,
    user_id     BIGINT NOT NULL,
    ends_at     BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_ends_at ON idempotency_keys (ends_at);
