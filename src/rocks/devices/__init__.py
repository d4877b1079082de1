"""What one machine can be told to do to itself: domains, links, disks; later pools, targets, sessions, mappings."""
