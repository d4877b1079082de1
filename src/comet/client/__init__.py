"""What talks to Nucleus: configuration, connection, cache, typed results. Knows nothing of terminals."""
