-- A scheduler that was killed may give the number of a job that it forgot to another: a job is known by its name.

ALTER TABLE computeset DROP INDEX IF EXISTS jobid;
