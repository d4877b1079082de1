"""Virtual clusters: added, copied, and given fresh disks."""
