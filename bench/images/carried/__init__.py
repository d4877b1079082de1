"""Programs that are carried to the lab's machines and run there, by their own Python."""
