-- Files that bear a machine's UUID on a host, but are not its disks: copies that a move makes there, and those that it has
-- left. A machine is not recorded with one of them (decision 120). A row is deleted when the host has removed the file,
-- or in the transaction in which the copy becomes the disk.
CREATE TABLE IF NOT EXISTS vm_disk_copies (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Vm_Node INT NOT NULL,
  Host INT NOT NULL,
  Path VARCHAR(1100) COLLATE utf8mb4_bin NOT NULL,
  Path_Digest CHAR(64) AS (SHA2(Path, 256)) STORED,
  UNIQUE KEY Copy (Vm_Node, Host, Path_Digest),
  CONSTRAINT vm_disk_copies_vm FOREIGN KEY (Vm_Node) REFERENCES vm_nodes (ID) ON DELETE CASCADE,
  CONSTRAINT vm_disk_copies_host FOREIGN KEY (Host) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
