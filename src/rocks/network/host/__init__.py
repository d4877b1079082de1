"""802.1Q devices and bridges below guest interfaces, by netlink; libvirt makes macvtap and tap devices.

`plans` restores the devices at boot.
"""
