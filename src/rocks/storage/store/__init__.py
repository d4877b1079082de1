"""The records of a daemon, on disk before the daemon acts on them: one SQLite file for each daemon."""
