-- Requests of owners of virtual clusters that were accepted, so that none is accepted twice, also not after a new start
-- of the service. Seen: seconds since 1970.

CREATE TABLE IF NOT EXISTS airboss_nonces (
  Nonce CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  Seen BIGINT NOT NULL,
  KEY Seen (Seen)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
