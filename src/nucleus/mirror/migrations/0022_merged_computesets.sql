-- The computeset that this one was merged into, for good: owners see it as a part of that one. Each part has its own job, state and
-- charge.
ALTER TABLE computeset ADD COLUMN IF NOT EXISTS merged_into INT UNSIGNED NULL;
CREATE INDEX IF NOT EXISTS merged_into ON computeset (merged_into);
