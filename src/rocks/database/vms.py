"""A name that is promised to other rolls; our own code imports it where it is."""

from rocks.inventory.loaded_host_records import which_are_vms  # noqa: F401
