-- Sites that can be reserved, and their reservations. `address` is that of a site that is reached by SSH, NULL: this one.
-- `request` is what a site knows the cluster of an interval by: other services, and older copies of these tables, have others.
-- The members of the project are a site's administrators. Where the table was there, 0026 adds `title` and `description`.

CREATE TABLE IF NOT EXISTS reservation_site (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) NOT NULL UNIQUE,
  cpus INT UNSIGNED NOT NULL,
  memory_gb INT UNSIGNED NOT NULL,
  has_ent BOOLEAN NOT NULL DEFAULT FALSE,
  is_available BOOLEAN NOT NULL DEFAULT TRUE,
  address VARCHAR(255) CHARACTER SET ascii NULL,
  project_id INT UNSIGNED NULL,
  FOREIGN KEY (project_id) REFERENCES project (id)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS reservation (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  site_id INT UNSIGNED NOT NULL,
  user_id INT UNSIGNED NOT NULL,
  vc VARCHAR(64) NOT NULL,
  cpus INT UNSIGNED NOT NULL,
  memory_gb INT UNSIGNED NOT NULL,
  has_ent BOOLEAN NOT NULL DEFAULT FALSE,
  public_key TEXT NOT NULL,
  title VARCHAR(100) NOT NULL DEFAULT '',
  description VARCHAR(1000) NOT NULL DEFAULT '',
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  FOREIGN KEY (site_id) REFERENCES reservation_site (id),
  FOREIGN KEY (user_id) REFERENCES user (id)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS reservation_interval (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  reservation_id INT UNSIGNED NOT NULL,
  begins_at DATETIME(3) NOT NULL,
  ends_at DATETIME(3) NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 'waiting',
  version INT UNSIGNED NOT NULL DEFAULT 0,
  is_cancelled BOOLEAN NOT NULL DEFAULT FALSE,
  reason VARCHAR(255) NULL,
  request CHAR(24) CHARACTER SET ascii NOT NULL,
  cluster VARCHAR(128) NULL,
  address VARCHAR(64) CHARACTER SET ascii NULL,
  notes LONGTEXT NOT NULL DEFAULT '{}' CHECK (JSON_VALID(notes)),
  KEY (ends_at),
  FOREIGN KEY (reservation_id) REFERENCES reservation (id) ON DELETE CASCADE
) ENGINE=InnoDB;

INSERT IGNORE INTO lease (name) VALUES ('reservations');
