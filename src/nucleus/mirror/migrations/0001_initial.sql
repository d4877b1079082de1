-- Everything that Nucleus stores. Moments are UTC. Text is compared without case, except in identifiers and keys.

CREATE TABLE IF NOT EXISTS project (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) NOT NULL UNIQUE,
  limits JSON NOT NULL DEFAULT '{}'
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS user (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  username VARCHAR(64) NOT NULL UNIQUE,
  email VARCHAR(254) NOT NULL DEFAULT '',
  first_name VARCHAR(150) NOT NULL DEFAULT '',
  last_name VARCHAR(150) NOT NULL DEFAULT '',
  is_active BOOLEAN NOT NULL DEFAULT TRUE,
  is_operator BOOLEAN NOT NULL DEFAULT FALSE,
  issuer VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
  subject VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  acknowledged_at DATETIME(3) NULL,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  UNIQUE (issuer, subject)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS membership (
  user_id INT UNSIGNED NOT NULL,
  project_id INT UNSIGNED NOT NULL,
  PRIMARY KEY (user_id, project_id),
  FOREIGN KEY (user_id) REFERENCES user (id) ON DELETE CASCADE,
  FOREIGN KEY (project_id) REFERENCES project (id) ON DELETE CASCADE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS allocation (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(80) NOT NULL UNIQUE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS cluster (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(128) NOT NULL UNIQUE,
  rocks_name VARCHAR(128) NOT NULL UNIQUE,
  description VARCHAR(1000) NOT NULL DEFAULT '',
  project_id INT UNSIGNED NULL,
  vlan INT NULL,
  username VARCHAR(128) NULL,
  generation BIGINT UNSIGNED NOT NULL DEFAULT 1,
  observed_topology DATETIME(3) NULL,
  observed_power DATETIME(3) NULL,
  observed_image DATETIME(3) NULL,
  missing_polls INT NOT NULL DEFAULT 0,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  gone_at DATETIME(3) NULL,
  FOREIGN KEY (project_id) REFERENCES project (id)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS cluster_allocation (
  cluster_id INT UNSIGNED NOT NULL,
  allocation_id INT UNSIGNED NOT NULL,
  PRIMARY KEY (cluster_id, allocation_id),
  FOREIGN KEY (cluster_id) REFERENCES cluster (id) ON DELETE CASCADE,
  FOREIGN KEY (allocation_id) REFERENCES allocation (id) ON DELETE CASCADE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS node (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  cluster_id INT UNSIGNED NOT NULL,
  kind ENUM('frontend', 'compute') NOT NULL,
  name VARCHAR(128) NOT NULL,
  rocks_name VARCHAR(128) NOT NULL UNIQUE,
  physical_host VARCHAR(128) NULL,
  cpus INT NULL,
  memory_mb INT NULL,
  disk_gb INT NULL,
  state VARCHAR(64) NULL,
  image_state VARCHAR(30) NULL,
  image_locked BOOLEAN NULL,
  gateway VARCHAR(45) NULL,
  dns1 VARCHAR(45) NULL,
  dns2 VARCHAR(45) NULL,
  ntp VARCHAR(128) NULL,
  type VARCHAR(16) NOT NULL DEFAULT 'VM',
  iso VARCHAR(255) NULL,
  iso_active VARCHAR(255) NULL,
  admin_disabled BOOLEAN NOT NULL DEFAULT FALSE,
  last_command_at DATETIME(3) NULL,
  missing_polls INT NOT NULL DEFAULT 0,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  gone_at DATETIME(3) NULL,
  live BOOLEAN AS (IF(gone_at IS NULL, 1, NULL)) PERSISTENT,
  UNIQUE (cluster_id, name, live),
  KEY (physical_host),
  FOREIGN KEY (cluster_id) REFERENCES cluster (id)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS interface (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  node_id INT UNSIGNED NOT NULL,
  position INT NOT NULL,
  iface VARCHAR(64) NOT NULL,
  mac VARCHAR(60) NOT NULL UNIQUE,
  ip VARCHAR(45) NULL,
  netmask VARCHAR(45) NULL,
  subnet VARCHAR(64) NULL,
  vlan INT NULL,
  UNIQUE (node_id, iface),
  FOREIGN KEY (node_id) REFERENCES node (id) ON DELETE CASCADE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS computeset (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  cluster_id INT UNSIGNED NOT NULL,
  state ENUM('created', 'submitted', 'running', 'ending', 'completed', 'cancelled', 'failed') NOT NULL,
  context JSON NOT NULL DEFAULT '{}',
  timers JSON NOT NULL DEFAULT '{}',
  version INT UNSIGNED NOT NULL DEFAULT 0,
  user VARCHAR(128) NOT NULL DEFAULT '',
  account VARCHAR(80) NOT NULL DEFAULT '',
  reservation VARCHAR(80) NULL,
  walltime_minutes INT NOT NULL,
  node_count INT NOT NULL,
  name VARCHAR(64) NULL UNIQUE,
  jobid BIGINT UNSIGNED NULL UNIQUE,
  nodelist TEXT NULL,
  start_time DATETIME(3) NULL,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  requested_by VARCHAR(64) NOT NULL DEFAULT '',
  cancel_requested ENUM('shutdown', 'poweroff') NULL,
  end_reason VARCHAR(64) NULL,
  ended_at DATETIME(3) NULL,
  degraded BOOLEAN NOT NULL DEFAULT FALSE,
  KEY (state),
  FOREIGN KEY (cluster_id) REFERENCES cluster (id)
) ENGINE=InnoDB;

-- `active` is 1 while the set has the node, else NULL: a node is in one living set at most.
CREATE TABLE IF NOT EXISTS computeset_node (
  computeset_id INT UNSIGNED NOT NULL,
  node_id INT UNSIGNED NOT NULL,
  position INT NOT NULL,
  active BOOLEAN NULL,
  released_at DATETIME(3) NULL,
  PRIMARY KEY (computeset_id, node_id),
  UNIQUE (node_id, active),
  CHECK (active IS NULL OR active = 1),
  FOREIGN KEY (computeset_id) REFERENCES computeset (id),
  FOREIGN KEY (node_id) REFERENCES node (id)
) ENGINE=InnoDB;

-- `busy_node` keeps two running operations off one node.
CREATE TABLE IF NOT EXISTS operation (
  id CHAR(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  kind VARCHAR(40) NOT NULL,
  target_cluster INT UNSIGNED NULL,
  target_node INT UNSIGNED NULL,
  target_set INT UNSIGNED NULL,
  actor VARCHAR(64) NOT NULL,
  token_id CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  project_id INT UNSIGNED NULL,
  arguments JSON NOT NULL DEFAULT '{}',
  unique_key VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NULL UNIQUE,
  state ENUM('queued', 'running', 'succeeded', 'failed', 'cancelled') NOT NULL DEFAULT 'queued',
  progress JSON NOT NULL DEFAULT '[]',
  result JSON NULL,
  error JSON NULL,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  started DATETIME(3) NULL,
  ended DATETIME(3) NULL,
  not_before DATETIME(3) NULL,
  attempts INT NOT NULL DEFAULT 0,
  worker VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  lease_until DATETIME(3) NULL,
  generation INT UNSIGNED NOT NULL DEFAULT 1,
  busy_node INT UNSIGNED AS (IF(state = 'running', target_node, NULL)) PERSISTENT UNIQUE,
  KEY (state, not_before),
  KEY (target_node, state),
  KEY (target_set, state),
  KEY (target_cluster)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS event (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  project_id INT UNSIGNED NULL,
  cluster_id INT UNSIGNED NULL,
  type VARCHAR(20) NOT NULL,
  target VARCHAR(160) NOT NULL,
  old VARCHAR(255) NULL,
  new VARCHAR(255) NULL,
  operation CHAR(26) CHARACTER SET ascii COLLATE ascii_bin NULL,
  KEY (at)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS token (
  id CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  user_id INT UNSIGNED NOT NULL,
  secret_sha256 BINARY(32) NOT NULL,
  scopes VARCHAR(255) NOT NULL,
  projects JSON NULL,
  note VARCHAR(255) NOT NULL DEFAULT '',
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  expires DATETIME(3) NULL,
  last_used DATETIME(3) NULL,
  revoked_at DATETIME(3) NULL,
  FOREIGN KEY (user_id) REFERENCES user (id) ON DELETE CASCADE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS signature_key (
  key_name VARCHAR(254) NOT NULL PRIMARY KEY,
  user_id INT UNSIGNED NOT NULL UNIQUE,
  secret VARBINARY(255) NOT NULL,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  FOREIGN KEY (user_id) REFERENCES user (id) ON DELETE CASCADE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS nonce (
  nonce VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  seen DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  KEY (seen)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS idempotency (
  actor VARCHAR(64) NOT NULL,
  key_text VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  token_id CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  request_hash BINARY(32) NOT NULL,
  status INT NULL,
  headers JSON NULL,
  body MEDIUMBLOB NULL,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  PRIMARY KEY (actor, key_text),
  KEY (created)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS image (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  project_id INT UNSIGNED NULL,
  owner INT UNSIGNED AS (IFNULL(project_id, 0)) PERSISTENT,
  name VARCHAR(132) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  size_bytes BIGINT UNSIGNED NOT NULL DEFAULT 0,
  sha256 CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  md5 CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
  state ENUM('uploading', 'ready', 'deleting') NOT NULL,
  uploaded_by INT UNSIGNED NULL,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  UNIQUE (owner, name),
  FOREIGN KEY (uploaded_by) REFERENCES user (id) ON DELETE SET NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS upload (
  id CHAR(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  image_id INT UNSIGNED NOT NULL,
  user_id INT UNSIGNED NOT NULL,
  size_bytes BIGINT UNSIGNED NOT NULL,
  offset_bytes BIGINT UNSIGNED NOT NULL DEFAULT 0,
  created DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  touched DATETIME(3) NOT NULL DEFAULT UTC_TIMESTAMP(3),
  FOREIGN KEY (image_id) REFERENCES image (id) ON DELETE CASCADE,
  FOREIGN KEY (user_id) REFERENCES user (id) ON DELETE CASCADE
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS audit (
  seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at DATETIME(3) NOT NULL,
  actor VARCHAR(64) NOT NULL,
  token_id CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  source_ip VARCHAR(45) NULL,
  action VARCHAR(64) NOT NULL,
  target VARCHAR(255) NOT NULL,
  outcome VARCHAR(64) NOT NULL,
  request_id VARCHAR(64) NULL,
  before_text MEDIUMTEXT NULL,
  after_text MEDIUMTEXT NULL,
  previous_hash BINARY(32) NOT NULL,
  hash BINARY(32) NOT NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS console_ticket (
  hash BINARY(32) NOT NULL PRIMARY KEY,
  node_id INT UNSIGNED NOT NULL,
  kind ENUM('vnc', 'serial') NOT NULL,
  user_id INT UNSIGNED NOT NULL,
  token_id CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  expires DATETIME(3) NOT NULL,
  used_at DATETIME(3) NULL,
  FOREIGN KEY (node_id) REFERENCES node (id),
  FOREIGN KEY (user_id) REFERENCES user (id) ON DELETE CASCADE
) ENGINE=InnoDB;

-- Who does what only one may do, for people to read. What keeps a second one off is a named lock of its connection.
CREATE TABLE IF NOT EXISTS lease (
  name VARCHAR(32) NOT NULL PRIMARY KEY,
  holder VARCHAR(128) NOT NULL DEFAULT '',
  since DATETIME(3) NULL,
  until DATETIME(3) NULL
) ENGINE=InnoDB;

INSERT IGNORE INTO lease (name) VALUES ('poller'), ('computesets'), ('claims'), ('events'), ('audit');

-- The commands that the poller runs. `observed` is when the one began whose answer is in the mirror.
CREATE TABLE IF NOT EXISTS source (
  name VARCHAR(16) NOT NULL PRIMARY KEY,
  observed DATETIME(3) NULL,
  row_count INT NOT NULL DEFAULT 0,
  failures INT NOT NULL DEFAULT 0,
  last_error TEXT NULL,
  duration_seconds DOUBLE NOT NULL DEFAULT 0
) ENGINE=InnoDB;

INSERT IGNORE INTO source (name) VALUES ('cluster'), ('interface'), ('route'), ('vm'), ('storagemap');
