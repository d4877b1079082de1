-- Cores, memory of NUMA nodes and PCI devices of hosts: which virtual machine has which. Like the lease that it is part
-- of, a row goes by names, and outlives what the database knows of machine and host, since a guest may still have them.

-- A row is locked while its host's leases are decided.
CREATE TABLE IF NOT EXISTS vm_shape_hosts (
  Host VARCHAR(128) NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS vm_core_leases (
  Host VARCHAR(128) NOT NULL,
  Cpu SMALLINT UNSIGNED NOT NULL,
  Name VARCHAR(128) NOT NULL,
  Token BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (Host, Cpu),
  KEY Name (Name),
  CONSTRAINT vm_core_leases_lease FOREIGN KEY (Name) REFERENCES vm_leases (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Pages of 4 KiB are ordinary memory that is bound to the node.
CREATE TABLE IF NOT EXISTS vm_page_leases (
  Host VARCHAR(128) NOT NULL,
  Node SMALLINT UNSIGNED NOT NULL,
  Size_KB INT UNSIGNED NOT NULL,
  Pages BIGINT UNSIGNED NOT NULL,
  Name VARCHAR(128) NOT NULL,
  Token BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (Host, Node, Size_KB, Name, Token),
  KEY Name (Name),
  CONSTRAINT vm_page_leases_lease FOREIGN KEY (Name) REFERENCES vm_leases (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS vm_device_leases (
  Host VARCHAR(128) NOT NULL,
  Address VARCHAR(16) NOT NULL,
  Pool VARCHAR(32) NOT NULL,
  Name VARCHAR(128) NOT NULL,
  Token BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (Host, Address),
  KEY Name (Name),
  CONSTRAINT vm_device_leases_lease FOREIGN KEY (Name) REFERENCES vm_leases (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
