"""SQL against the cluster database, one module for each family of tables, and the numbered migrations."""
