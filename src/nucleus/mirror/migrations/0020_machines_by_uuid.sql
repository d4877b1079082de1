-- A machine is known by its UUID: of several rows with one, that of the machine which is there, or the newest, keeps it.

UPDATE node n JOIN (
    SELECT id, ROW_NUMBER() OVER (PARTITION BY uuid ORDER BY gone_at IS NULL DESC, id DESC) AS place
    FROM node WHERE uuid IS NOT NULL
  ) r ON r.id = n.id
  SET n.uuid = NULL WHERE r.place > 1;

CREATE UNIQUE INDEX IF NOT EXISTS uuid ON node (uuid);

-- Machines, and clusters, that are gone keep their names in Rocks, and others may have had them.

ALTER TABLE node DROP INDEX IF EXISTS rocks_name;

CREATE INDEX IF NOT EXISTS names_in_rocks ON node (rocks_name);

ALTER TABLE cluster DROP INDEX IF EXISTS rocks_name, DROP COLUMN IF EXISTS missing_polls;
