"""The command line: finds the command, runs it, and turns its outcome into an exit status."""
