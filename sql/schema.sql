-- What the migrations make. Checked by a test, never run.

CREATE TABLE address (
    id            TEXT NOT NULL PRIMARY KEY, -- the node
    socket        TEXT NOT NULL,             -- where it is reached, ip:port
    src           TEXT NOT NULL,             -- who told of it, id@ip:port
    new_buckets   BLOB,                      -- the new buckets that it is in, one byte each; NULL: in none
    old_bucket    INTEGER,                   -- the old bucket that it is in; NULL: in none; both NULL: it is bad
    attempts      INTEGER NOT NULL,          -- attempts to connect since it was last good
    last_attempt  INTEGER,                   -- the last attempt
    last_success  INTEGER,                   -- when it was last good
    last_bad      INTEGER,                   -- when it was last marked bad
    dial_failures INTEGER NOT NULL,          -- dials in a row that brought no session
    verified      INTEGER,                   -- when this very address was last dialed and the node found there
    last_seen     INTEGER,                   -- when a session with it last began or ended
    probation     TEXT,                      -- another address told for this node, not yet believed, id@ip:port
    moniker       TEXT NOT NULL,             -- what the node calls itself; empty: it was never met
    version       TEXT NOT NULL,             -- the version of its software, likewise
    network       TEXT NOT NULL              -- the network that it says it belongs to, likewise
) STRICT, WITHOUT ROWID;

CREATE TABLE anchor (
    position INTEGER NOT NULL PRIMARY KEY, -- 0 is the best
    addr     TEXT NOT NULL                 -- a peer that was good when the node last ran, id@ip:port
) STRICT;

CREATE TABLE bad_address (
    id     TEXT NOT NULL PRIMARY KEY, -- the node that is not to be dialed
    addr   TEXT,                      -- where it was thought to be, id@ip:port; NULL: unknown
    until  INTEGER NOT NULL,          -- when it may be dialed again
    cause  TEXT NOT NULL,             -- who says so, and of what: 'incompatible', 'unreachable' or 'application'
    reason TEXT NOT NULL              -- why, for people
) STRICT, WITHOUT ROWID;

CREATE TABLE ban (
    target TEXT NOT NULL PRIMARY KEY, -- whom it is for: a node ID, an IP address or a range (1.2.3.0/24)
    until  INTEGER,                   -- when it ends; NULL: not by itself
    reason TEXT NOT NULL,             -- why, for people
    origin TEXT NOT NULL              -- who imposed it: 'operator' or 'automatic'
) STRICT, WITHOUT ROWID;

CREATE TABLE book_key (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), -- always 1
    text TEXT NOT NULL,                                -- the "key" of addrbook.json; enters the hashes that choose buckets
    hash BLOB NOT NULL CHECK (length(hash) = 32)       -- the key of the hash function itself
) STRICT;

CREATE TABLE imported_file (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), -- always 1
    sha256 BLOB NOT NULL                                 -- of the addrbook.json that was taken in last
) STRICT;

PRAGMA user_version = 3;
