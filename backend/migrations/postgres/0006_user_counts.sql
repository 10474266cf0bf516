-- How many users there are, so that a page of the list need not count them all: the sum of what sessions have added and taken away. A session always changes
-- the same row, so that two of them seldom wait for each other, and never in a circle.
CREATE TABLE user_counts (
    slot   INTEGER PRIMARY KEY,
    number BIGINT  NOT NULL
) WITH (fillfactor = 50);

-- Nobody adds one while they are counted.
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO user_counts (slot, number) SELECT 0, count(*) FROM users;

CREATE FUNCTION count_users() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    change BIGINT;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE user_counts SET number = 0;
        RETURN NULL;
    END IF;
    SELECT count(*) INTO change FROM changed_users;
    IF change > 0 THEN
        IF TG_OP = 'DELETE' THEN
            change := -change;
        END IF;
        INSERT INTO user_counts AS c (slot, number) VALUES (pg_backend_pid() % 32, change)
            ON CONFLICT (slot) DO UPDATE SET number = c.number + excluded.number;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER users_added AFTER INSERT ON users
    REFERENCING NEW TABLE AS changed_users FOR EACH STATEMENT EXECUTE FUNCTION count_users();
CREATE TRIGGER users_gone AFTER DELETE ON users
    REFERENCING OLD TABLE AS changed_users FOR EACH STATEMENT EXECUTE FUNCTION count_users();
CREATE TRIGGER users_all_gone AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION count_users();
