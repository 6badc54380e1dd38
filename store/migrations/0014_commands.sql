-- The REST API's commands that run just now, so that the next daemon ends what a killed one left.
CREATE TABLE commands (
    -- The half of its nonce by which it is found in the pod.
    name TEXT PRIMARY KEY,
    pod_id TEXT NOT NULL REFERENCES rentals,
    -- Its time limit.
    seconds INTEGER NOT NULL
) STRICT;
