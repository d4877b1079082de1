-- The UUID of each virtual machine: what is made for it bears the UUID, so that a machine of the same name gets nothing of it.

ALTER TABLE vm_nodes
  ADD COLUMN IF NOT EXISTS UUID CHAR(36) CHARACTER SET ascii NOT NULL DEFAULT '',
  ADD COLUMN IF NOT EXISTS Adopts BOOLEAN NOT NULL DEFAULT TRUE;

-- A random UUID: one of the server's own would contain its MAC address, and guests see theirs.
UPDATE vm_nodes v
JOIN (SELECT ID, SHA2(CONCAT(UUID(), RAND(), ID), 256) AS Random FROM vm_nodes) r ON r.ID = v.ID
SET v.UUID = CONCAT_WS('-', SUBSTR(r.Random, 1, 8), SUBSTR(r.Random, 9, 4), CONCAT('4', SUBSTR(r.Random, 13, 3)),
  CONCAT('8', SUBSTR(r.Random, 16, 3)), SUBSTR(r.Random, 19, 12))
WHERE v.UUID = '';

-- The machines of this moment adopt their images at their first start; later ones do not.
ALTER TABLE vm_nodes
  MODIFY COLUMN UUID CHAR(36) CHARACTER SET ascii NOT NULL DEFAULT (UUID()),
  MODIFY COLUMN Adopts BOOLEAN NOT NULL DEFAULT FALSE,
  ADD UNIQUE KEY IF NOT EXISTS UUID (UUID);

-- Where the machines of this moment have their disks, they may stay.
INSERT IGNORE INTO catindex (Name, Category)
SELECT DISTINCT p.Name, c.ID
FROM vm_nodes v
JOIN nodes p ON p.ID = v.PhysNode
JOIN categories c ON c.Name = 'host';

SET STATEMENT group_concat_max_len = 60000 FOR
INSERT IGNORE INTO attributes (Attr, Value, Category, Catindex)
SELECT w.Attr, GROUP_CONCAT(DISTINCT w.Value ORDER BY w.Value SEPARATOR ','), c.ID, i.ID
FROM (
  SELECT 'vm_image_directories' AS Attr, v.PhysNode, d.Prefix AS Value
  FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node
  WHERE d.VBD_Type <> 'phy' AND d.Prefix LIKE '/_%'
  UNION ALL
  SELECT 'vm_image_directories', v.PhysNode, TRIM(TRAILING CONCAT('/', SUBSTRING_INDEX(v.cdrom_path, '/', -1)) FROM v.cdrom_path)
  FROM vm_nodes v
  WHERE v.cdrom_path LIKE '/_%/_%' AND v.cdrom_path NOT LIKE '/dev/%'
  UNION ALL
  SELECT 'vm_disk_devices', v.PhysNode, CONCAT(IF(d.Prefix = '' OR d.Prefix IS NULL, '', CONCAT(d.Prefix, '/')), d.Name)
  FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node
  WHERE d.VBD_Type = 'phy' AND NOT EXISTS (SELECT 1 FROM img_nas_server s WHERE s.vm_disk_id = d.ID AND s.nas_name <> '')
  UNION ALL
  SELECT 'vm_disk_devices', v.PhysNode, v.cdrom_path FROM vm_nodes v WHERE v.cdrom_path LIKE '/dev/%'
) w
JOIN nodes p ON p.ID = w.PhysNode
JOIN categories c ON c.Name = 'host'
JOIN catindex i ON i.Name = p.Name AND i.Category = c.ID
GROUP BY w.Attr, c.ID, i.ID;
