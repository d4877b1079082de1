-- The hosts on which a machine was placed before: they keep the logs of its console, which are removed with the machine.
CREATE TABLE IF NOT EXISTS vm_former_hosts (
  Vm_Node INT NOT NULL,
  Host INT NOT NULL,
  PRIMARY KEY (Vm_Node, Host),
  CONSTRAINT vm_former_hosts_vm FOREIGN KEY (Vm_Node) REFERENCES vm_nodes (ID) ON DELETE CASCADE,
  CONSTRAINT vm_former_hosts_host FOREIGN KEY (Host) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
