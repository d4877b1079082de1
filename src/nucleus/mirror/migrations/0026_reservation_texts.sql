-- What the list states about a reservation, in its owner's words. The table is that of the part for reservations: a number of
-- its own above those of Nucleus would make a schema that Nucleus cannot read once the part is gone. A part that comes later
-- makes the table with these columns (0008).

ALTER TABLE IF EXISTS reservation
  ADD COLUMN IF NOT EXISTS title VARCHAR(100) NOT NULL DEFAULT '',
  ADD COLUMN IF NOT EXISTS description VARCHAR(1000) NOT NULL DEFAULT '';
