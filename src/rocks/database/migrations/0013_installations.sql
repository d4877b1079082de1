-- How far the installation of a physical host is, as its installer and its first boot reported. The number is known to
-- the host alone and is part of the address that it reports to: local users of the frontend cannot read this table.

CREATE TABLE IF NOT EXISTS sec_installations (
  Node INT NOT NULL PRIMARY KEY,
  Number CHAR(16) CHARACTER SET ascii NOT NULL,
  State VARCHAR(32) NOT NULL,
  Since DATETIME NOT NULL,
  Report VARCHAR(1000) NOT NULL DEFAULT '',
  CONSTRAINT installations_node FOREIGN KEY (Node) REFERENCES nodes (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
