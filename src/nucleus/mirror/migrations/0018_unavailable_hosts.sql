-- Why Slurm gives a host no jobs, in its own words; NULL: it may.

ALTER TABLE site_host ADD COLUMN IF NOT EXISTS unavailable VARCHAR(255) NULL;
