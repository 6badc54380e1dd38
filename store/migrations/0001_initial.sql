-- Times are milliseconds since the Unix epoch, money is whole credits.

CREATE TABLE installation (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    account_id TEXT PRIMARY KEY,
    email TEXT NOT NULL COLLATE NOCASE UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'maintainer')),
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'suspended')),
    quota_gpus INTEGER NOT NULL CHECK (quota_gpus >= 0),
    -- Moved by the ledger's triggers alone.
    balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at INTEGER NOT NULL,
    approved_at INTEGER
) STRICT;

CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts,
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX tokens_one_live ON tokens (account_id) WHERE revoked_at IS NULL;

CREATE TABLE rentals (
    pod_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts,
    name TEXT NOT NULL,
    image TEXT NOT NULL,
    gpu_model TEXT NOT NULL,
    gpu_count INTEGER NOT NULL CHECK (gpu_count >= 0),
    cpu TEXT NOT NULL,
    memory TEXT NOT NULL,
    ephemeral_storage_gib INTEGER NOT NULL,
    price_per_hour INTEGER NOT NULL CHECK (price_per_hour >= 0),
    created_at INTEGER NOT NULL,
    create_acked_at INTEGER,
    started_at INTEGER,
    ready_at INTEGER,
    finished_at INTEGER,
    ended_at INTEGER,
    end_reason TEXT,
    gone_at INTEGER,
    -- The cluster has answered the deletion of the ended rental's pod and Secret.
    swept_at INTEGER,
    failed INTEGER NOT NULL DEFAULT 0 CHECK (failed IN (0, 1)),
    ready INTEGER NOT NULL DEFAULT 0 CHECK (ready IN (0, 1)),
    node TEXT,
    pending_reason TEXT,
    charged_minutes INTEGER NOT NULL DEFAULT 0 CHECK (charged_minutes >= 0),
    cost INTEGER NOT NULL DEFAULT 0,
    last_activity_at INTEGER NOT NULL,
    key_generation INTEGER NOT NULL DEFAULT 1,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CHECK (gone_at IS NULL OR ended_at IS NOT NULL),
    CHECK (swept_at IS NULL OR ended_at IS NOT NULL),
    CHECK (charged_minutes = 0 OR started_at IS NOT NULL),
    CHECK (cost = price_per_hour * max(1, gpu_count) * charged_minutes / 60)
) STRICT;
CREATE INDEX rentals_of_account ON rentals (account_id, created_at);
CREATE INDEX rentals_live ON rentals (account_id) WHERE ended_at IS NULL;
CREATE INDEX rentals_not_gone ON rentals (pod_id) WHERE gone_at IS NULL;
CREATE INDEX rentals_unswept ON rentals (pod_id) WHERE ended_at IS NOT NULL AND swept_at IS NULL;

CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    pod_id TEXT NOT NULL REFERENCES rentals,
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    generation INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    retired_at INTEGER,
    UNIQUE (pod_id, generation)
) STRICT;
CREATE UNIQUE INDEX keys_one_rental ON keys (fingerprint) WHERE retired_at IS NULL;
CREATE UNIQUE INDEX keys_one_live ON keys (pod_id) WHERE retired_at IS NULL;

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL REFERENCES accounts,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('trial', 'topup', 'correction', 'refund', 'usage')),
    amount INTEGER NOT NULL,
    balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
    pod_id TEXT REFERENCES rentals,
    hour INTEGER,
    minutes INTEGER,
    who TEXT NOT NULL,
    note TEXT NOT NULL,
    CHECK ((kind = 'usage') = (hour IS NOT NULL)),
    CHECK (kind <> 'usage' OR (pod_id IS NOT NULL AND minutes > 0 AND amount <= 0)),
    CHECK (kind <> 'refund' OR (pod_id IS NOT NULL AND minutes > 0 AND amount >= 0))
) STRICT;
CREATE INDEX ledger_of_account ON ledger (account_id, id);
-- One line per rental and UTC hour (hours since the epoch): minutes are added while it is open.
CREATE UNIQUE INDEX ledger_usage ON ledger (pod_id, hour) WHERE kind = 'usage';
CREATE INDEX ledger_of_rental ON ledger (pod_id) WHERE pod_id IS NOT NULL;

-- A balance is the sum of its ledger because nothing else moves it; the CHECK on accounts.balance
-- then refuses any line that would make it negative.
CREATE TRIGGER ledger_moves_balance AFTER INSERT ON ledger BEGIN
    UPDATE accounts SET balance = balance + NEW.amount WHERE account_id = NEW.account_id;
END;
CREATE TRIGGER ledger_moves_balance_again AFTER UPDATE ON ledger BEGIN
    UPDATE accounts SET balance = balance + NEW.amount - OLD.amount
    WHERE account_id = NEW.account_id;
END;
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE ON ledger
WHEN OLD.kind <> 'usage' OR NEW.kind <> 'usage' OR NEW.id <> OLD.id
    OR NEW.account_id <> OLD.account_id OR NEW.pod_id <> OLD.pod_id OR NEW.hour <> OLD.hour
    OR NEW.minutes <= OLD.minutes OR NEW.amount > OLD.amount
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only; a usage line only gains minutes');
END;
CREATE TRIGGER ledger_is_kept BEFORE DELETE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
