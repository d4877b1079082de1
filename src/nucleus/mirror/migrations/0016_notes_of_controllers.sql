-- What a controller has noted for its next rounds: timers, and what it has dealt with.

ALTER TABLE computeset CHANGE COLUMN IF EXISTS timers notes JSON NOT NULL DEFAULT '{}';

ALTER TABLE IF EXISTS reservation_interval CHANGE COLUMN IF EXISTS timers notes JSON NOT NULL DEFAULT '{}';
