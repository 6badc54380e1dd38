-- Maintainers page through everybody's rentals, newest first.
CREATE INDEX rentals_by_time ON rentals (created_at, pod_id);
