-- The snapshot to which the disks of a machine are being restored, from before the first disk until after the last. With
-- some disks restored they are of different moments, so the machine does not start (decision 179).
ALTER TABLE vm_nodes ADD COLUMN IF NOT EXISTS Restoring VARCHAR(32) COLLATE utf8mb4_bin DEFAULT NULL;
