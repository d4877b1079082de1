"""Network devices that guests use: VLAN devices and macvtap, by netlink, and the plans that restore them at boot."""
