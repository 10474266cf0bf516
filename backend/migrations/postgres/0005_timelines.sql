-- On which timelines backends found the primary that they wrote to, by the cluster's system identifier. A row that a replica has shows that what the replica replays is the
-- history of that primary. (The identifier is there for a dump that is restored elsewhere: in another cluster the row says nothing.)
CREATE TABLE timelines (
    system   BIGINT NOT NULL,
    timeline BIGINT NOT NULL,
    PRIMARY KEY (system, timeline)
);
