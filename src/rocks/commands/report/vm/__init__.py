"""Commands that report something for virtual machines."""
