-- How many operations of a project are queued or run is asked with each change, and with each claim.

CREATE INDEX IF NOT EXISTS project_state ON operation (project_id, state);
