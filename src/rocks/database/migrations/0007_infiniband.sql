-- Ports of physical hosts' InfiniBand adapters, as a subnet manager knows them.
CREATE TABLE IF NOT EXISTS ib_ports (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Node INT NOT NULL,
  Device VARCHAR(64) NOT NULL,
  Port INT NOT NULL DEFAULT 1,
  GUID BIGINT UNSIGNED NOT NULL,
  UNIQUE KEY Place (Node, Device, Port),
  UNIQUE KEY GUID (GUID),
  CONSTRAINT ib_ports_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- A virtual cluster's partition: the low 15 bits of its key. The row goes with the frontend, and the key is free again.
CREATE TABLE IF NOT EXISTS ib_partitions (
  PKey INT NOT NULL PRIMARY KEY,
  Frontend INT NOT NULL,
  Membership ENUM('full', 'limited') NOT NULL DEFAULT 'full',
  IPoIB BOOLEAN NOT NULL DEFAULT TRUE,
  UNIQUE KEY Frontend (Frontend),
  CONSTRAINT ib_partitions_frontend FOREIGN KEY (Frontend) REFERENCES nodes (ID) ON DELETE CASCADE,
  CONSTRAINT ib_partitions_range CHECK (PKey BETWEEN 1 AND 32766)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- GUIDs of a virtual machine's adapter and port: derived from its name once, and kept when it is renamed.
CREATE TABLE IF NOT EXISTS ib_guids (
  Node INT NOT NULL PRIMARY KEY,
  Node_GUID BIGINT UNSIGNED NOT NULL,
  Port_GUID BIGINT UNSIGNED NOT NULL,
  UNIQUE KEY Node_GUID (Node_GUID),
  UNIQUE KEY Port_GUID (Port_GUID),
  CONSTRAINT ib_guids_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Under which key the lease of a machine was last taken. As the lease does, the row outlives the machine's removal: a
-- key is free only when nothing that was started under it can still run.
CREATE TABLE IF NOT EXISTS ib_key_uses (
  Name VARCHAR(128) NOT NULL PRIMARY KEY,
  PKey INT NOT NULL,
  KEY PKey (PKey),
  CONSTRAINT ib_key_uses_lease FOREIGN KEY (Name) REFERENCES vm_leases (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- What the subnet manager was last told, as a digest: a command that was killed between writing and telling is found out.
CREATE TABLE IF NOT EXISTS ib_manager (
  ID INT NOT NULL PRIMARY KEY DEFAULT 1,
  Digest CHAR(64) NOT NULL,
  CONSTRAINT ib_manager_one CHECK (ID = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
