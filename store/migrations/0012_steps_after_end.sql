-- How far our clock was set since the rental ended, while its pod may still be there.
ALTER TABLE rentals ADD COLUMN stepped_after_end_ms INTEGER NOT NULL DEFAULT 0;
