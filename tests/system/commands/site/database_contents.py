"""The content of a cluster database without its IDs, so that two databases can be compared."""

from rocks.database.connection import Database

_NODE = "(SELECT n.Name FROM nodes n WHERE n.ID = t.{0})"
_NETWORK = "(SELECT s.name FROM subnets s WHERE s.ID = t.{0})"
_MEMBER = (
    "(SELECT CONCAT(c.Name, ':', i.Name) FROM catindex i JOIN categories c ON c.ID = i.Category"
    " WHERE i.ID = t.Catindex AND i.Category = t.Category)"
)
_ROUTE = f"t.Network, t.Netmask, t.Gateway, {_NETWORK.format('Subnet')}"

CONTENTS = {
    "aliases": f"{_NODE.format('Node')}, t.Name",
    "appliance_routes": f"(SELECT a.Name FROM appliances a WHERE a.ID = t.Appliance), {_ROUTE}",
    "appliances": "t.Name, t.Graph, t.Node, t.OS",
    "attributes": f"{_MEMBER}, t.Attr, t.Value, t.Shadow",
    "boot": f"{_NODE.format('Node')}, t.Action",
    "bootaction": "t.Action, t.Kernel, t.Ramdisk, t.Args",
    "bootflags": f"t.Node = 0, {_NODE.format('Node')}, t.Flags",
    "categories": "t.Name, t.Description",
    "catindex": "(SELECT c.Name FROM categories c WHERE c.ID = t.Category), t.Name",
    "cluster_vlans": f"t.VlanID, {_NODE.format('Frontend')}",
    "distributions": "t.Name, t.OS_Release, t.Lang",
    "firewalls": f"{_MEMBER}, t.Rulename, t.Rulesrc, {_NETWORK.format('InSubnet')}, {_NETWORK.format('OutSubnet')},"
    " t.Service, t.Protocol, t.Action, t.Chain, t.Flags, t.Comment",
    "global_routes": _ROUTE,
    "ib_partitions": f"t.PKey, {_NODE.format('Frontend')}, t.Membership, t.IPoIB",
    "ib_ports": f"{_NODE.format('Node')}, t.Device, t.Port, t.GUID",
    "img_nas_server": "(SELECT CONCAT(n.Name, ' ', d.Name) FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node"
    " JOIN nodes n ON n.ID = v.Node WHERE d.ID = t.vm_disk_id), t.nas_name, t.zpool_name",
    "memberships": "t.Name, (SELECT a.Name FROM appliances a WHERE a.ID = t.Appliance),"
    " (SELECT d.Name FROM distributions d WHERE d.ID = t.Distribution), t.Public",
    "networks": f"{_NODE.format('Node')}, t.MAC, t.IP, t.Name, t.Device, {_NETWORK.format('Subnet')}, t.Module,"
    " NULLIF(t.VlanID, 0), t.Options, t.Channel, t.Disable_KVM",  # 0 and NULL are both untagged
    "node_rolls": f"{_NODE.format('Node')},"
    " (SELECT CONCAT_WS(' ', r.Name, r.Version, r.Arch) FROM rolls r WHERE r.ID = t.RollID)",
    "node_routes": f"{_NODE.format('Node')}, {_ROUTE}",
    "nodes": "t.Name, (SELECT m.Name FROM memberships m WHERE m.ID = t.Membership), t.CPUs, t.Rack, t.Rank, t.Arch,"
    " t.OS, t.RunAction, t.InstallAction",
    "os_routes": f"t.OS, {_ROUTE}",
    "partitions": f"{_NODE.format('Node')}, t.Device, t.Mountpoint, t.SectorStart, t.PartitionSize, t.PartitionID,"
    " t.FsType, t.PartitionFlags, t.FormatFlags",
    "public_keys": f"{_NODE.format('Node')}, t.Public_Key, t.Description",
    "resolvechain": "t.Name, (SELECT c.Name FROM categories c WHERE c.ID = t.Category), t.Precedence",
    "rolls": "t.Name, t.Version, t.Arch, t.OS, t.Enabled",
    "sec_global_attributes": "t.Attr, t.Value, t.Enc",
    "sec_node_attributes": f"{_NODE.format('Node')}, t.Attr, t.Value, t.Enc",
    "sriov_adapters": "(SELECT CONCAT(n.Name, ' ', i.Device) FROM networks i JOIN nodes n ON n.ID = i.Node"
    " WHERE i.ID = t.Interface), t.Functions",
    "subnets": "t.name, t.dnszone, t.subnet, t.netmask, t.mtu, t.servedns",
    "vm_disks": "(SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE v.ID = t.Vm_Node),"
    " (SELECT COUNT(*) FROM vm_disks o WHERE o.Vm_Node = t.Vm_Node AND o.ID < t.ID),"
    " t.VBD_Type, t.Prefix, t.Name, t.Device, t.Mode, t.Size",
    "vm_nodes": f"{_NODE.format('Node')}, {_NODE.format('PhysNode')}, t.Mem, t.Slice, t.Virt_Type,"
    " t.cdrom_path, t.UUID",
}
"""Table → its content, with names in place of IDs."""

OF_THE_MOMENT = {
    "airboss_nonces": "requests that were accepted",
    "airboss_past_hours": "hours whose requests are forgotten",
    "host_memory": "what hosts reported last",
    "ib_guids": "derived from the machines' UUIDs when a partition is used",
    "ib_key_uses": "of leases",
    "ib_manager": "what the subnet manager received last",
    "img_moves": "images on their way",
    "lease_epoch": "of this database alone",
    "schema_migrations": "the schema's version",
    "sec_audit": "who changed this database",
    "sec_audit_head": "who changed this database",
    "sec_installations": "installations under way",
    "sriov_leases": "of leases",
    "vm_disk_copies": "moves under way, and what they left",
    "vm_core_leases": "of leases",
    "vm_device_leases": "of leases",
    "vm_fences": "of leases",
    "vm_former_hosts": "where logs of consoles are",
    "vm_lease_disks": "of leases",
    "vm_page_leases": "of leases",
    "vm_shape_hosts": "locked while leases are decided",
    "vm_leases": "which machine may run where: a replayed dump must not say",
}
"""Table that a dump leaves out → why."""


def contents(database: Database) -> dict[str, list[str]]:
    """Table → its sorted rows as text."""
    database.rollback()
    return {
        table: sorted(map(repr, database.rows(f"SELECT {columns} FROM {table} t")))
        for table, columns in CONTENTS.items()
    }


def tables(database: Database) -> set[str]:
    """All tables of the schema."""
    rows = database.rows(
        "SELECT TABLE_NAME FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
    )
    return {str(row[0]) for row in rows}
