"""Networks and what connects to them: interfaces, routes, VLAN devices, packet filters."""
