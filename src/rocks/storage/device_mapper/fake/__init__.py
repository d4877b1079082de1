"""Device-mapper in memory; the contract tests run on it and on the kernel."""
