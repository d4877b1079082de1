-- Since when a machine has a disk at this place. A file that root put there later is meant for it; an older one may be of
-- a machine that is gone. Of disks of before, the moment of this step.

ALTER TABLE vm_disks
  ADD COLUMN IF NOT EXISTS Recorded TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP;
