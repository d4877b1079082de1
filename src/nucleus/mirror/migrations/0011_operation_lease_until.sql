-- Not read: a running operation is known by its worker.

ALTER TABLE operation DROP COLUMN IF EXISTS lease_until;
