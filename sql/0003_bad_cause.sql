-- Version 3: what a bad address is bad for, so that it is known what makes it good again.
--
-- A new table and not a new column, so that the schema reads as it was written. Nothing is known of the
-- rows that are there: they stand until their time is over, as they did.

ALTER TABLE bad_address RENAME TO bad_address_1;

CREATE TABLE bad_address (
    id     TEXT NOT NULL PRIMARY KEY, -- the node that is not to be dialed
    addr   TEXT,                      -- where it was thought to be, id@ip:port; NULL: unknown
    until  INTEGER NOT NULL,          -- when it may be dialed again
    cause  TEXT NOT NULL,             -- who says so, and of what: 'incompatible', 'unreachable' or 'application'
    reason TEXT NOT NULL              -- why, for people
) STRICT, WITHOUT ROWID;

INSERT INTO bad_address SELECT id, addr, until, 'application', reason FROM bad_address_1;

DROP TABLE bad_address_1;

PRAGMA user_version = 3;
