"""Programs that are copied to the lab's machines and run by the Python there."""
