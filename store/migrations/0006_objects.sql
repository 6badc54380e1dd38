-- Transit objects. The bytes lie in the object store, under a key made of the object's id.
CREATE TABLE objects (
    object_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > created_at),
    -- What counts against the account: the declared or reserved size until there is a measured one.
    held_bytes INTEGER NOT NULL CHECK (held_bytes >= 0),
    declared_bytes INTEGER CHECK (declared_bytes >= 0),
    sha256 TEXT CHECK (length(sha256) = 64),
    purge_on_release INTEGER NOT NULL CHECK (purge_on_release IN (0, 1)),
    -- Both NULL unless the object comes in parts; upload_id is the store's, once it has begun.
    part_bytes INTEGER CHECK (part_bytes > 0),
    upload_id TEXT,
    -- What was found in the store; the object is ready once that may be fetched.
    size_bytes INTEGER CHECK (size_bytes >= 0),
    etag TEXT,
    ready_at INTEGER,
    ended_at INTEGER,
    end_reason TEXT,
    -- The store has answered the deletion.
    gone_at INTEGER,
    CHECK (upload_id IS NULL OR part_bytes IS NOT NULL),
    CHECK ((size_bytes IS NULL) = (etag IS NULL)),
    CHECK (size_bytes IS NULL OR held_bytes = size_bytes),
    CHECK (ready_at IS NULL OR size_bytes IS NOT NULL),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CHECK (gone_at IS NULL OR ended_at IS NOT NULL)
) STRICT;
CREATE INDEX objects_of_account ON objects (account_id, created_at);
CREATE INDEX objects_live ON objects (account_id) WHERE ended_at IS NULL;
CREATE INDEX objects_not_gone ON objects (object_id) WHERE ended_at IS NOT NULL AND gone_at IS NULL;
CREATE INDEX objects_gone ON objects (gone_at) WHERE gone_at IS NOT NULL;
