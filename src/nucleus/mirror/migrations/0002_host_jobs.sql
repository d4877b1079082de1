-- The jobs of computesets where an operator's list of hosts is the batch system.

CREATE TABLE IF NOT EXISTS host_job (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) NOT NULL UNIQUE,
  state ENUM('pending', 'running', 'ended') NOT NULL DEFAULT 'pending',
  host_count INT NOT NULL,
  requested JSON NOT NULL DEFAULT '[]',
  hosts JSON NOT NULL DEFAULT '[]',
  reason VARCHAR(64) NOT NULL DEFAULT '',
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  KEY (state)
) ENGINE=InnoDB;
