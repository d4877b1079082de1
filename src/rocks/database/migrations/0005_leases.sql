-- A virtual machine runs at most once. These tables go by names and paths, not by rows of other tables: they must
-- outlive the removal of a virtual machine from the database, since its guest may still run somewhere.

-- One row per name that ever ran. Token grows by one each time the lease is taken; Host is where it may run.
CREATE TABLE IF NOT EXISTS vm_leases (
  Name VARCHAR(128) NOT NULL PRIMARY KEY,
  Token BIGINT UNSIGNED NOT NULL DEFAULT 0,
  Host VARCHAR(128) DEFAULT NULL,
  State ENUM('released', 'starting', 'running', 'stopping') NOT NULL DEFAULT 'released',
  Intent VARCHAR(64) DEFAULT NULL,
  Reason TEXT DEFAULT NULL,
  Holder VARCHAR(1024) DEFAULT NULL,
  Changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  KEY Host (Host),
  CONSTRAINT vm_leases_held CHECK ((Host IS NULL) = (State = 'released'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Hosts know a guest by its token: a smaller one coming back, or a row made anew, would let an old guest pass.
DELIMITER //
CREATE OR REPLACE TRIGGER vm_leases_token_grows BEFORE UPDATE ON vm_leases FOR EACH ROW
BEGIN
  IF NEW.Token < OLD.Token OR NEW.Name <> OLD.Name THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the token of a lease only grows, and its name stays';
  END IF;
END //
CREATE OR REPLACE TRIGGER vm_leases_stay BEFORE DELETE ON vm_leases FOR EACH ROW
BEGIN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a lease is released, never deleted';
END //
DELIMITER ;

-- Disks in use under a lease, on a host or (for a shared store) under the name of the store. Paths are told apart
-- byte by byte; they are longer than a key may be, so their digest is the key.
CREATE TABLE IF NOT EXISTS vm_lease_disks (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  Host VARCHAR(128) NOT NULL,
  Path VARCHAR(1100) COLLATE utf8mb4_bin NOT NULL,
  Name VARCHAR(128) NOT NULL,
  Path_Digest CHAR(64) AS (SHA2(Path, 256)) STORED,
  UNIQUE KEY Path (Host, Path_Digest),
  CONSTRAINT vm_lease_disks_lease FOREIGN KEY (Name) REFERENCES vm_leases (Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- What a host that was given up still owes: there, a guest of this name with a smaller token is to be destroyed.
CREATE TABLE IF NOT EXISTS vm_fences (
  Host VARCHAR(128) NOT NULL,
  Name VARCHAR(128) NOT NULL,
  Token BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (Host, Name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
