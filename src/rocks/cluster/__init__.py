"""Virtual clusters: added, copied, and given fresh disks; the VLAN devices of hosts for them."""
