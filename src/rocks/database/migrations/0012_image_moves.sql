-- Images that a command moves from one NAS to another: recorded before the NASes are asked, deleted when the disk has its new place.

CREATE TABLE IF NOT EXISTS img_moves (
  ID INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  zvol VARCHAR(220) NOT NULL,
  nas_name VARCHAR(64) NOT NULL,
  target_name VARCHAR(64) NOT NULL,
  target_zpool VARCHAR(128) NOT NULL,
  UNIQUE KEY Image (nas_name, zvol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
