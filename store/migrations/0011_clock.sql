-- Which clock live rentals' times are of: how far it is ahead of one that nobody sets, which counts
-- from `origin` on (a boot of the machine).
CREATE TABLE clock (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    origin TEXT NOT NULL,
    ahead_ms INTEGER NOT NULL
) STRICT;
