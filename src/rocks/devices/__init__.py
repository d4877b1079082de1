"""What one machine does to itself: a package for each subsystem, its fake beside it; general modules here."""
