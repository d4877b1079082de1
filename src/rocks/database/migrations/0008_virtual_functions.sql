-- Virtual functions (SR-IOV) of hosts' adapters, and which virtual machine has which.

-- How many functions an adapter gives; the row goes with the interface.
CREATE TABLE IF NOT EXISTS sriov_adapters (
  Interface INT NOT NULL PRIMARY KEY,
  Functions SMALLINT UNSIGNED NOT NULL,
  CONSTRAINT sriov_adapters_interface FOREIGN KEY (Interface) REFERENCES networks (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- A function belongs to one machine at a time: the first columns are the key. Like the lease that it is part of, a row
-- goes by names, and outlives what the database knows of machine and host, since a guest may still have the function.
CREATE TABLE IF NOT EXISTS sriov_leases (
  Host VARCHAR(128) NOT NULL,
  Device VARCHAR(32) NOT NULL,
  Number SMALLINT UNSIGNED NOT NULL,
  Name VARCHAR(128) NOT NULL,
  MAC VARCHAR(64) NOT NULL,
  Token BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (Host, Device, Number),
  KEY Name (Name),
  CONSTRAINT sriov_leases_lease FOREIGN KEY (Name) REFERENCES vm_leases (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
