-- Each cluster as JSON, in the generation that it had then, and by which sources it was written: others write it otherwise.
-- No foreign key: a session that changes a cluster has its row locked, and its text need not wait for that.

CREATE TABLE IF NOT EXISTS cluster_text (
  cluster_id INT UNSIGNED NOT NULL PRIMARY KEY,
  generation BIGINT UNSIGNED NOT NULL,
  written_by CHAR(16) CHARACTER SET ascii NOT NULL,
  text LONGBLOB NOT NULL
) ENGINE=InnoDB;
