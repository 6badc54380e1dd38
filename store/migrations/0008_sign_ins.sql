-- Who may open the dashboard. Of every secret only its SHA-256 is kept: each is 256 bits of chance.

-- An issuer's subject is one account's for good; its e-mail address may change meanwhile.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;

-- A link that signs in once; its row goes with its use.
CREATE TABLE sign_in_links (
    hash BLOB PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts,
    expires_at INTEGER NOT NULL
) STRICT;

-- Browsers that are signed in.
CREATE TABLE sign_ins (
    hash BLOB PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_ins_of_account ON sign_ins (account_id);
