-- The project that had the cluster when a computeset was started: later owners of the cluster do not see it.

ALTER TABLE computeset ADD COLUMN IF NOT EXISTS project_id INT UNSIGNED NULL;

CREATE INDEX IF NOT EXISTS project ON computeset (project_id);

UPDATE computeset s JOIN cluster c ON c.id = s.cluster_id
  LEFT JOIN operation o ON o.target_set = s.id AND o.kind = 'start_set'
  SET s.project_id = COALESCE(o.project_id, c.project_id)
  WHERE s.project_id IS NULL;
