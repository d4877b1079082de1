"""ZFS pools, volumes, snapshots and streams, by the programs `zfs` and `zpool`."""
