-- The power that was last known of a node, and since when: a host that does not answer for a while changes neither. Since when nodes that
-- are there have theirs is not known.
ALTER TABLE node
  ADD COLUMN IF NOT EXISTS known_power VARCHAR(8) NULL,
  ADD COLUMN IF NOT EXISTS power_since DATETIME(3) NULL;
UPDATE node SET known_power = CASE
    WHEN state IN ('active', 'shutdown') THEN 'on' WHEN state IN ('paused', 'crashed') THEN state
    WHEN state IN ('shutoff', 'nostate') OR (state = 'nostate-error' AND physical_host IS NULL) THEN 'off' END
  WHERE known_power IS NULL;
