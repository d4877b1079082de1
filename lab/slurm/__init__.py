"""A Slurm of the lab's own: its daemons, and `make demo-slurm`."""
