-- A live migration was given up, and the new host may have run the machine since: its files there, which are recorded as
-- copies, may be the current disks (decision 176). The machine does not start before an operator has decided.
ALTER TABLE vm_disk_copies ADD COLUMN IF NOT EXISTS May_Be_Current BOOLEAN NOT NULL DEFAULT FALSE;
