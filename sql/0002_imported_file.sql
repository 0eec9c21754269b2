-- Version 2: which addrbook.json was taken in, so that it is not taken in again at each start.

-- At most one row.
CREATE TABLE imported_file (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), -- always 1
    sha256 BLOB NOT NULL                                 -- of the addrbook.json that was taken in last
) STRICT;

PRAGMA user_version = 2;
