-- The UUID of a machine: another one under its name is another machine, and one of another name may be this one.

ALTER TABLE node ADD COLUMN IF NOT EXISTS uuid CHAR(36) NULL;
