-- What many requests of one owner ask: tickets of consoles that are too old, and what an allocation was charged.

CREATE INDEX IF NOT EXISTS expires ON console_ticket (expires);

CREATE INDEX IF NOT EXISTS account ON computeset (account);
