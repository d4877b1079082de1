-- When the power of a node was last lost sight of, mostly because its host stopped answering.
ALTER TABLE node ADD COLUMN IF NOT EXISTS unknown_since DATETIME(3) NULL;
