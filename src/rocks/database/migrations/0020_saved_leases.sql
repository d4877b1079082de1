-- A machine whose memory its host has saved is off, and its lease stays with that host.
ALTER TABLE vm_leases
  MODIFY COLUMN State ENUM('released', 'starting', 'running', 'stopping', 'saved') NOT NULL DEFAULT 'released';
