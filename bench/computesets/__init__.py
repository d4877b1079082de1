"""R26, R27 and R28: computesets as jobs of a real Slurm, whose daemons are all on one machine of the lab."""
