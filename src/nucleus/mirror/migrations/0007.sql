-- Hosts: those that rocks lists, and those that the batch system may give to computesets.

CREATE TABLE IF NOT EXISTS site_host (
  name VARCHAR(128) NOT NULL PRIMARY KEY,
  is_listed BOOLEAN NOT NULL DEFAULT FALSE,
  is_scheduled BOOLEAN NOT NULL DEFAULT FALSE
) ENGINE=InnoDB;
