-- The img-storage roll: which NAS, and which of its pools, keeps a disk of a virtual machine. A disk without a row, or
-- with empty names, is where vm_disks says. The NAS goes by its name: the row outlives a NAS that is installed anew.
CREATE TABLE IF NOT EXISTS img_nas_server (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  vm_disk_id INT NOT NULL,
  nas_name VARCHAR(64) NOT NULL DEFAULT '',
  zpool_name VARCHAR(128) NOT NULL DEFAULT '',
  UNIQUE KEY Disk (vm_disk_id),
  KEY Server (nas_name),
  CONSTRAINT img_nas_server_disk FOREIGN KEY (vm_disk_id) REFERENCES vm_disks (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
