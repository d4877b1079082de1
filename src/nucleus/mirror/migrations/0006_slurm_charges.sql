-- What Slurm has counted: node seconds of a set that has ended, and of an allocation node minutes that are its limit, used,
-- and left to the jobs that run. All are NULL where Nucleus counts.

ALTER TABLE computeset ADD COLUMN IF NOT EXISTS charged_seconds BIGINT UNSIGNED NULL;

ALTER TABLE allocation
  ADD COLUMN IF NOT EXISTS limit_minutes BIGINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS used_minutes BIGINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS running_minutes BIGINT UNSIGNED NULL;
