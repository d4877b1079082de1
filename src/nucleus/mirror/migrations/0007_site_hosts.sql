-- Hosts: those that rocks lists, and those that the batch system may give to computesets. What Slurm has charged of a set that
-- has not ended; what all limits leave of an allocation, and the account above it whose limit that is.

CREATE TABLE IF NOT EXISTS site_host (
  name VARCHAR(128) NOT NULL PRIMARY KEY,
  is_listed BOOLEAN NOT NULL DEFAULT FALSE,
  is_scheduled BOOLEAN NOT NULL DEFAULT FALSE
) ENGINE=InnoDB;

ALTER TABLE computeset ADD COLUMN IF NOT EXISTS charged_so_far_seconds BIGINT UNSIGNED NULL;

ALTER TABLE allocation
  ADD COLUMN IF NOT EXISTS left_minutes BIGINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS limited_by VARCHAR(80) NULL;
