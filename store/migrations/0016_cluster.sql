-- Which cluster the live rentals are in: the uid of its namespace for pods.
ALTER TABLE installation ADD COLUMN cluster_uid TEXT;
