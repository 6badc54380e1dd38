-- What maintainers and operators did to accounts and rentals: who, what and when, never a secret.
-- Kept for ever: it is a row for each decision of a person, not for each minute or session.
CREATE TABLE actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    -- As on the ledger: api:EMAIL, a maintainer's EMAIL on the dashboard, cli:USER, domain NAME.
    who TEXT NOT NULL CHECK (who <> ''),
    action TEXT NOT NULL CHECK (action IN (
        'added', 'approved', 'suspended', 'reinstated', 'deleted', 'changed', 'credited',
        'token_issued', 'token_revoked', 'link_made', 'released'
    )),
    account_id TEXT NOT NULL REFERENCES accounts,
    pod_id TEXT REFERENCES rentals,
    detail TEXT NOT NULL,
    CHECK ((action = 'released') = (pod_id IS NOT NULL))
) STRICT;
CREATE INDEX actions_of_account ON actions (account_id, id);

CREATE TRIGGER actions_stay_as_they_are BEFORE UPDATE ON actions BEGIN
    SELECT RAISE(ABORT, 'what was done is on record for good');
END;
CREATE TRIGGER actions_are_kept BEFORE DELETE ON actions BEGIN
    SELECT RAISE(ABORT, 'what was done is on record for good');
END;
