-- What commands changed of the list of hosts in the settings: hosts that were added to it, and hosts that were removed.

CREATE TABLE IF NOT EXISTS batch_host (
  name VARCHAR(128) NOT NULL PRIMARY KEY,
  is_added BOOLEAN NOT NULL
) ENGINE=InnoDB;
