"""What a command does, a module per noun: read, decide, act, record."""
