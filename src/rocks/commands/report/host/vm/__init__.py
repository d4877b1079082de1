"""Commands that report something of virtual machines."""
