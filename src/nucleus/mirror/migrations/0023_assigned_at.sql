-- Since when a cluster is its project's: metrics of before are another's. Of clusters that are there it is not known.
ALTER TABLE cluster ADD COLUMN IF NOT EXISTS assigned_at DATETIME(3) NULL;
UPDATE cluster SET assigned_at = UTC_TIMESTAMP(3) WHERE assigned_at IS NULL;
