"""The owner's client: it knows the service's REST interface and nothing else."""
