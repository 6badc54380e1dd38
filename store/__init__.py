"""What must survive a crash: accounts, tokens, ledger, rentals, keys. SQLite, plain SQL, no ORM."""
