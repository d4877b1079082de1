-- A cluster that is gone keeps its name and its owners, for its computesets and charges; a new one may have the name, too.

ALTER TABLE cluster ADD COLUMN IF NOT EXISTS live BOOLEAN AS (IF(gone_at IS NULL, 1, NULL)) PERSISTENT;

CREATE UNIQUE INDEX IF NOT EXISTS living ON cluster (name, live);

ALTER TABLE cluster DROP INDEX IF EXISTS name;
