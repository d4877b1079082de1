"""A machine that leaves this host or arrives here."""
