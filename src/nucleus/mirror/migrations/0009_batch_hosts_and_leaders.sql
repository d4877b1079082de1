-- What commands changed of the list of hosts in the settings: hosts that were added to it, and hosts that were removed.
-- And who leads a project.

CREATE TABLE IF NOT EXISTS batch_host (
  name VARCHAR(128) NOT NULL PRIMARY KEY,
  is_added BOOLEAN NOT NULL
) ENGINE=InnoDB;

ALTER TABLE project ADD COLUMN IF NOT EXISTS leader_id INT UNSIGNED NULL REFERENCES user (id);
