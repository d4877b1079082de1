"""InfiniBand partitions of clusters: keys, members, the subnet manager."""
