"""802.1Q devices and bridges below guest interfaces, by netlink; libvirt makes macvtap and tap devices.

`stored_links` lists them; `machine.host.guest_network` restores them at boot.
"""
