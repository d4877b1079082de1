"""The way in from a terminal: words to a command, a command's outcome to an exit status."""
