-- The memory of hosts, as they reported it when all of them were asked for their leases: a machine that has more does not
-- start there, and who gives it that much reads so at once, without a question to a host.
CREATE TABLE IF NOT EXISTS host_memory (
  Host INT NOT NULL PRIMARY KEY,
  MB INT UNSIGNED NOT NULL,
  CONSTRAINT host_memory_host FOREIGN KEY (Host) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
