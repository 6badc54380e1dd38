-- Who was in which pod, from where, and how it ended; never what was typed or moved.
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    pod_id TEXT NOT NULL REFERENCES rentals,
    -- The key that signed: which of the rental's keys it was, and its name.
    generation INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    peer TEXT NOT NULL,
    client TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('exec', 'shell', 'subsystem')),
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    -- NULL while the session is open, and for good if the daemon died with it.
    bytes_in INTEGER CHECK (bytes_in >= 0),
    bytes_out INTEGER CHECK (bytes_out >= 0),
    exit_status INTEGER,
    reason TEXT,
    CHECK ((closed_at IS NULL) = (reason IS NULL))
) STRICT;
CREATE INDEX sessions_of_rental ON sessions (pod_id, opened_at);
CREATE INDEX sessions_by_time ON sessions (opened_at);
CREATE INDEX sessions_open ON sessions (session_id) WHERE closed_at IS NULL;
