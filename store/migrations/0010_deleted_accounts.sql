-- When an account was deleted. Its row stays, as books refer to it; its own status is 'suspended'.
ALTER TABLE accounts ADD COLUMN deleted_at INTEGER
    CHECK (deleted_at IS NULL OR status = 'suspended');
