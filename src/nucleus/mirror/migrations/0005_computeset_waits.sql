-- What owners see of a set's job: why it waits, at which place of the computesets that wait, and until when it may run.

ALTER TABLE computeset
  ADD COLUMN IF NOT EXISTS waiting VARCHAR(160) NULL,
  ADD COLUMN IF NOT EXISTS place INT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS estimated_start DATETIME(3) NULL,
  ADD COLUMN IF NOT EXISTS walltime_end DATETIME(3) NULL;
