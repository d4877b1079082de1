"""SQL against the cluster database, one module per family of tables, and the numbered migrations."""
