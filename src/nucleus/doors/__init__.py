"""The only ways out: the `rocks` program and the batch system."""
