"""The kickstart graph: one module reads files, the rest is pure. Filled when hosts are installed from the graph."""
