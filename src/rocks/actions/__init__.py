"""Actions of the commands, a module per noun: read, decide, act, record."""
