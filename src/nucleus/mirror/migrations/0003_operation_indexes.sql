-- What each change and each claim asks: a project's operations, and the oldest of each node.

CREATE INDEX IF NOT EXISTS project_state ON operation (project_id, state);

CREATE INDEX IF NOT EXISTS state_node ON operation (state, target_node);
