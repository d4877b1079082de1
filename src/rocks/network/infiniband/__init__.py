"""InfiniBand partitions of clusters: keys, members, the subnet manager.

Members of a partition are no rows, which a crash would leave behind: they follow from leases and from
`ib_key_uses`, which says under which key a lease was taken and outlives the machine's removal. So a silent
host keeps its membership, and its key is given to nobody else. The host decides whether a machine may run: it
waits for the key in the port's table. The frontend only warns when opensm is away. Hosts are full and limited
members of the default partition (`both`): batch jobs go on, and guests get the limited key;
`ib_default_membership=limited` keeps guests from reaching hosts by it.
"""
