-- The interfaces that make a machine a member of a cluster, with the numbers of the hosts: a reader of all clusters need
-- not look hosts up by their names, nor have the server compare all names with each other.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW cluster_interfaces AS
SELECT f.Name AS cluster_name, fi.VlanID AS vlanid, n.Name AS node_name, f.ID AS frontend_id, n.ID AS node_id
FROM nodes f
JOIN memberships m ON m.ID = f.Membership AND m.Name = 'Frontend'
JOIN vm_nodes fv ON fv.Node = f.ID
JOIN networks fi ON fi.Node = f.ID AND fi.VlanID > 0
JOIN subnets s ON s.ID = fi.Subnet AND s.name = 'private'
JOIN networks i ON i.VlanID = fi.VlanID
JOIN vm_nodes v ON v.Node = i.Node
JOIN nodes n ON n.ID = v.Node;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW clusters AS
SELECT DISTINCT cluster_name, vlanid, node_name FROM cluster_interfaces;
