"""What no subject owns: errors, clock, units, processes, files, the journal."""
