-- How many rentals without a GPU an account may have at once.
ALTER TABLE accounts ADD COLUMN quota_cpu_pods INTEGER NOT NULL DEFAULT 4
    CHECK (quota_cpu_pods >= 0);
-- Trial credits come once, whatever the code above does.
CREATE UNIQUE INDEX ledger_one_trial ON ledger (account_id) WHERE kind = 'trial';
