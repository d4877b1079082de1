"""ZFS in memory; the contract tests run on it and on real pools."""
