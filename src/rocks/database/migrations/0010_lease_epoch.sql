-- The lease epoch of this database (decision 31): every token of an epoch is above all tokens of earlier ones. The
-- frontend keeps Identity and Serial in a file too; Serial grows with each lease that is granted. So a copy that is put
-- back is recognised: its serial is lower, or its identity another one.
CREATE TABLE IF NOT EXISTS lease_epoch (
  ID TINYINT NOT NULL DEFAULT 1 PRIMARY KEY,
  Identity CHAR(32) NOT NULL,
  Epoch INT UNSIGNED NOT NULL DEFAULT 0,
  Serial BIGINT UNSIGNED NOT NULL DEFAULT 0,
  CONSTRAINT lease_epoch_is_one_row CHECK (ID = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

INSERT INTO lease_epoch (ID, Identity) VALUES (1, REPLACE(UUID(), '-', ''));
