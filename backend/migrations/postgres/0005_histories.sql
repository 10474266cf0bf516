-- The histories of the primaries that backends have written to, in their order: a new one begins when a replica is promoted, and when a dump is restored in
-- another cluster. A replica that has the row of a history replays that history.
CREATE TABLE histories (
    id       BIGINT PRIMARY KEY,
    -- PostgreSQL's system identifier.
    system   BIGINT NOT NULL,
    timeline BIGINT NOT NULL,
    UNIQUE (system, timeline)
);
