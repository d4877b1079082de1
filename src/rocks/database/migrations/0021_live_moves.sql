-- A machine that moves while it runs: its lease stays with the old host until the new one runs it. Target is the new one.
ALTER TABLE vm_leases
  MODIFY COLUMN State ENUM('released', 'starting', 'running', 'stopping', 'saved', 'moving') NOT NULL DEFAULT 'released',
  ADD COLUMN IF NOT EXISTS Target VARCHAR(128) DEFAULT NULL AFTER Host;
