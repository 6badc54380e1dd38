-- How far our clock was set, forward or back, since the rental was made, and how far of that before
-- its container started. Time that was only set did not pass, and is not charged.
ALTER TABLE rentals ADD COLUMN stepped_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rentals ADD COLUMN stepped_before_start_ms INTEGER NOT NULL DEFAULT 0;
-- When the container started, on the clock as it is set now.
ALTER TABLE rentals ADD COLUMN ran_since INTEGER
    AS (started_at + stepped_ms - stepped_before_start_ms) VIRTUAL;
