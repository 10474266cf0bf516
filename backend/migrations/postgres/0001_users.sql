CREATE TABLE users (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    TEXT   NOT NULL,
    email   TEXT   NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);

-- E-mail addresses are ASCII (checked before they come here). The collation keeps lower() from depending on the database's locale.
CREATE UNIQUE INDEX users_email ON users (lower(email COLLATE "C"));
