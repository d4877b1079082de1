-- The column is named as the power that a node had last, not as the one that is known now.
ALTER TABLE node CHANGE COLUMN IF EXISTS known_power last_power VARCHAR(8) NULL;
