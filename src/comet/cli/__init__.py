"""Words and tables of the `comet` program."""
