-- What the renter was told last: that the balance lasts for at most so many minutes more.
ALTER TABLE rentals ADD COLUMN low_balance_minutes INTEGER CHECK (low_balance_minutes > 0);

-- One trigger where there were two: a pod may be seen to run and to be ready at once, and SQLite
-- doesn't say which trigger comes first.
DROP TRIGGER rental_started;
DROP TRIGGER rental_ready;
CREATE TRIGGER rental_ran AFTER UPDATE OF started_at, ready_at ON rentals BEGIN
    INSERT INTO events (pod_id, seq, at, kind)
    SELECT NEW.pod_id, seq, NEW.started_at, 'started'
    FROM (SELECT coalesce(max(seq), 0) + 1 AS seq FROM events WHERE pod_id = NEW.pod_id)
    WHERE OLD.started_at IS NULL AND NEW.started_at IS NOT NULL;
    INSERT INTO events (pod_id, seq, at, kind)
    SELECT NEW.pod_id, seq, NEW.ready_at, 'ready'
    FROM (SELECT coalesce(max(seq), 0) + 1 AS seq FROM events WHERE pod_id = NEW.pod_id)
    WHERE OLD.ready_at IS NULL AND NEW.ready_at IS NOT NULL;
END;
