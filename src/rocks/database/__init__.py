"""The connection to the cluster database, its locks, and the numbered migrations; statements are in the rooms."""
