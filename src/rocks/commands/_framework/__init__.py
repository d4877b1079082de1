"""The framework: finds a command, reads its arguments, runs it, prints its output. It knows no command."""
