"""What a daemon knows, on disk before it is acted upon: one SQLite file for each daemon."""
