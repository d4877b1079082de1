"""Bounds and defaults of networks. Pure. The hosts' agents use it, too."""

LEAST_VLAN_ID, MAX_VLAN_ID = 1, 4094
"""IEEE 802.1Q reserves 0 (no VLAN) and 4095."""

OPTIONS_LONGEST = 128
