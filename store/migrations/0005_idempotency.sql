-- Requests that carried an Idempotency-Key, with what was answered. `request` is a hash of what was
-- asked; the answer holds no secret. Written in the transaction of what the request made.
CREATE TABLE idempotency (
    account_id TEXT NOT NULL REFERENCES accounts,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    answer TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (made_at);
