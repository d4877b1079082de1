-- Accepted requests of owners are forgotten by the hour, and of such an hour none is accepted any more: so a clock that is
-- set forward and back lets none pass a second time. Stated: the time in the request, in seconds since 1970; Hour: hours.

ALTER TABLE airboss_nonces DROP KEY IF EXISTS Seen, CHANGE COLUMN IF EXISTS Seen Stated BIGINT NOT NULL,
  ADD KEY IF NOT EXISTS Stated (Stated);

CREATE TABLE IF NOT EXISTS airboss_past_hours (
  Hour BIGINT NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
