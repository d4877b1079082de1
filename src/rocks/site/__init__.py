"""What looks at the whole site: create, check, overview, save and restore."""
