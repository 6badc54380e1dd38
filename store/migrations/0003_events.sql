-- What happened to each rental, for its owner to read and to follow. `seq` counts a rental's events
-- from 1, so that a reader can go on where it stopped.
CREATE TABLE events (
    pod_id TEXT NOT NULL REFERENCES rentals,
    seq INTEGER NOT NULL CHECK (seq > 0),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN (
        'created', 'scheduled', 'pulling', 'started', 'ready', 'idle_warning', 'low_balance',
        'key_rotated', 'session_opened', 'session_closed', 'ended'
    )),
    -- The event's own word: the end's reason, the node, the new key's fingerprint …
    detail TEXT NOT NULL DEFAULT '',
    session_id TEXT,
    PRIMARY KEY (pod_id, seq)
) STRICT, WITHOUT ROWID;
-- These happen once in a rental's life.
CREATE UNIQUE INDEX events_once ON events (pod_id, kind)
WHERE kind IN ('created', 'scheduled', 'started', 'ready', 'ended');

-- Rentals older than this table: how they began and ended is known.
INSERT INTO events (pod_id, seq, at, kind) SELECT pod_id, 1, created_at, 'created' FROM rentals;
INSERT INTO events (pod_id, seq, at, kind, detail)
SELECT pod_id, 2, ended_at, 'ended', end_reason FROM rentals WHERE ended_at IS NOT NULL;

-- Whatever writes a row that says that something happened writes the event with it.
CREATE TRIGGER rental_created AFTER INSERT ON rentals BEGIN
    INSERT INTO events (pod_id, seq, at, kind) VALUES (NEW.pod_id, 1, NEW.created_at, 'created');
END;
CREATE TRIGGER rental_started AFTER UPDATE OF started_at ON rentals
WHEN OLD.started_at IS NULL AND NEW.started_at IS NOT NULL BEGIN
    INSERT INTO events (pod_id, seq, at, kind)
    SELECT NEW.pod_id, coalesce(max(seq), 0) + 1, NEW.started_at, 'started'
    FROM events WHERE pod_id = NEW.pod_id;
END;
CREATE TRIGGER rental_ready AFTER UPDATE OF ready_at ON rentals
WHEN OLD.ready_at IS NULL AND NEW.ready_at IS NOT NULL BEGIN
    INSERT INTO events (pod_id, seq, at, kind)
    SELECT NEW.pod_id, coalesce(max(seq), 0) + 1, NEW.ready_at, 'ready'
    FROM events WHERE pod_id = NEW.pod_id;
END;
CREATE TRIGGER rental_ended AFTER UPDATE OF ended_at ON rentals
WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL BEGIN
    INSERT INTO events (pod_id, seq, at, kind, detail)
    SELECT NEW.pod_id, coalesce(max(seq), 0) + 1, NEW.ended_at, 'ended', NEW.end_reason
    FROM events WHERE pod_id = NEW.pod_id;
END;
CREATE TRIGGER key_rotated AFTER INSERT ON keys WHEN NEW.generation > 1 BEGIN
    INSERT INTO events (pod_id, seq, at, kind, detail)
    SELECT NEW.pod_id, coalesce(max(seq), 0) + 1, NEW.added_at, 'key_rotated', NEW.fingerprint
    FROM events WHERE pod_id = NEW.pod_id;
END;
CREATE TRIGGER session_opened AFTER INSERT ON sessions BEGIN
    INSERT INTO events (pod_id, seq, at, kind, detail, session_id)
    SELECT NEW.pod_id, coalesce(max(seq), 0) + 1, NEW.opened_at, 'session_opened', NEW.kind,
        NEW.session_id
    FROM events WHERE pod_id = NEW.pod_id;
END;
CREATE TRIGGER session_closed AFTER UPDATE OF closed_at ON sessions
WHEN OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL BEGIN
    INSERT INTO events (pod_id, seq, at, kind, detail, session_id)
    SELECT NEW.pod_id, coalesce(max(seq), 0) + 1, NEW.closed_at, 'session_closed', NEW.reason,
        NEW.session_id
    FROM events WHERE pod_id = NEW.pod_id;
END;
