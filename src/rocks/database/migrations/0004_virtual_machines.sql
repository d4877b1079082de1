-- The KVM roll: virtual machines, their disks, the clusters they form, and what the roll begins with.

CREATE TABLE IF NOT EXISTS vm_nodes (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  PhysNode INT DEFAULT 0,
  Node INT NOT NULL,
  Mem INT NOT NULL DEFAULT 1024,
  Slice INT NOT NULL DEFAULT 0,
  Virt_Type VARCHAR(64) DEFAULT NULL,
  cdrom_path VARCHAR(512) DEFAULT '',
  UNIQUE KEY Node (Node),
  KEY PhysNode (PhysNode, Slice),
  CONSTRAINT vm_nodes_container FOREIGN KEY (PhysNode) REFERENCES nodes (ID) ON DELETE SET NULL,
  CONSTRAINT vm_nodes_node FOREIGN KEY (Node) REFERENCES nodes (ID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS vm_disks (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Vm_Node INT NOT NULL,
  VBD_Type VARCHAR(64) DEFAULT NULL,
  Prefix VARCHAR(512) DEFAULT NULL,
  Name VARCHAR(512) DEFAULT NULL,
  Device VARCHAR(512) DEFAULT NULL,
  Mode VARCHAR(64) DEFAULT NULL,
  Size INT NOT NULL DEFAULT 0,
  CONSTRAINT vm_disks_vm FOREIGN KEY (Vm_Node) REFERENCES vm_nodes (ID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- A virtual cluster is what has one VLAN id in common with a virtual frontend on network `private`.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW clusters AS
SELECT DISTINCT f.Name AS cluster_name, fi.VlanID AS vlanid, n.Name AS node_name
FROM nodes f
JOIN memberships m ON m.ID = f.Membership AND m.Name = 'Frontend'
JOIN vm_nodes fv ON fv.Node = f.ID
JOIN networks fi ON fi.Node = f.ID AND fi.VlanID > 0
JOIN subnets s ON s.ID = fi.Subnet AND s.name = 'private'
JOIN networks i ON i.VlanID = fi.VlanID
JOIN vm_nodes v ON v.Node = i.Node
JOIN nodes n ON n.ID = v.Node;

-- One row per VLAN id given to a virtual cluster. `networks` cannot say that two frontends must not share one; this
-- key does, also to two commands that look for a free id at the same moment. The row goes with its frontend.
CREATE TABLE IF NOT EXISTS cluster_vlans (
  VlanID INT NOT NULL PRIMARY KEY,
  Frontend INT NOT NULL,
  CONSTRAINT cluster_vlans_frontend FOREIGN KEY (Frontend) REFERENCES nodes (ID) ON DELETE CASCADE,
  CONSTRAINT cluster_vlans_range CHECK (VlanID BETWEEN 1 AND 4095)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

INSERT INTO appliances (Name, Node) VALUES ('vm-container', 'client'), ('hosted-vm', '');

INSERT INTO memberships (Name, Appliance, Distribution, Public)
SELECT IF(Name = 'vm-container', 'VM Container', 'Hosted VM'), ID, 1, IF(Name = 'vm-container', 'yes', 'no')
FROM appliances
WHERE Name IN ('vm-container', 'hosted-vm')
ORDER BY ID;

INSERT INTO catindex (Name, Category)
SELECT a.Name, c.ID
FROM appliances a
JOIN categories c ON c.Name = 'appliance'
WHERE a.Name IN ('vm-container', 'hosted-vm');

INSERT INTO attributes (Attr, Value, Category, Catindex)
SELECT w.Attr, w.Value, c.ID, i.ID
FROM (
  SELECT 'appliance' AS Scope, 'vm-container' AS Member, 'managed' AS Attr, 'true' AS Value
  UNION ALL SELECT 'appliance', 'vm-container', 'kvm', 'true'
  UNION ALL SELECT 'appliance', 'vm-container', 'kickstartable', 'yes'
  UNION ALL SELECT 'appliance', 'vm-container', 'dhcp_filename', 'pxelinux.0'
  UNION ALL SELECT 'appliance', 'hosted-vm', 'kickstartable', 'no'
  UNION ALL SELECT 'global', 'global', 'cpu_mode', 'host-passthrough'
) w
JOIN categories c ON c.Name = w.Scope
JOIN catindex i ON i.Name = w.Member AND i.Category = c.ID;

-- The address of the kickstart service is the site's, and is added to the arguments with the frontend.
INSERT INTO bootaction (Action, Kernel, Ramdisk, Args) VALUES
  (
    'install vm frontend',
    '/boot/kickstart/default/vmlinuz',
    '/boot/kickstart/default/initrd.img',
    'ksdevice=eth1 build airboss=localhost'
  );
