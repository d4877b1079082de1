-- The audit log: who changed what, when, from where, with which outcome. Only root reads it (sec_). Entries are added,
-- never changed. An entry's digest is over the digest before it, its number and its content, so an entry cannot be
-- changed, removed or moved unless all later digests are made anew; sec_audit_head has the last one.
-- Concerns: the entry whose outcome this one is; such an entry has no other text than the outcome.
CREATE TABLE IF NOT EXISTS sec_audit (
  Number BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  Time DATETIME(3) NOT NULL,
  Concerns BIGINT UNSIGNED DEFAULT NULL,
  Source VARCHAR(32) NOT NULL,
  Person VARCHAR(255) NOT NULL,
  Account VARCHAR(255) NOT NULL,
  Origin VARCHAR(255) NOT NULL,
  Action TEXT NOT NULL,
  ExitStatus INT DEFAULT NULL,
  Error VARCHAR(64) NOT NULL,
  Roll VARCHAR(128) NOT NULL,
  Version VARCHAR(64) NOT NULL,
  Digest CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  UNIQUE KEY Concerns (Concerns),
  KEY Time (Time)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sec_audit_head (
  ID TINYINT NOT NULL DEFAULT 1 PRIMARY KEY,
  Number BIGINT UNSIGNED NOT NULL,
  Digest CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  CONSTRAINT sec_audit_head_is_one_row CHECK (ID = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

INSERT IGNORE INTO sec_audit_head (ID, Number, Digest) VALUES (1, 0, REPEAT('0', 64));

-- An entry comes with the digest of its content, and gets its number and its digest here: one statement for each change.
DELIMITER //
CREATE OR REPLACE TRIGGER sec_audit_chain BEFORE INSERT ON sec_audit FOR EACH ROW
BEGIN
  UPDATE sec_audit_head SET
    Digest = SHA2(CONCAT_WS(' ', Digest, Number + 1, NEW.Digest), 256),
    Number = Number + 1
  WHERE ID = 1;
  IF ROW_COUNT() <> 1 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit log has no head';
  END IF;
  SET NEW.Number = (SELECT Number FROM sec_audit_head WHERE ID = 1);
  SET NEW.Digest = (SELECT Digest FROM sec_audit_head WHERE ID = 1);
END //
CREATE OR REPLACE TRIGGER sec_audit_unchanged BEFORE UPDATE ON sec_audit FOR EACH ROW
BEGIN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'an entry of the audit log is never changed';
END //
CREATE OR REPLACE TRIGGER sec_audit_stays BEFORE DELETE ON sec_audit FOR EACH ROW
BEGIN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'an entry of the audit log is never deleted';
END //
DELIMITER ;
