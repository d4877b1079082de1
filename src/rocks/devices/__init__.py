"""Devices of the machine that runs this code: a package for each subsystem, with its fake; general modules here."""
