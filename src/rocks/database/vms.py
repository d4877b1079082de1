"""A name that is promised to other rolls; our own code imports it where it is."""

from rocks.inventory.host_loading import which_are_vms  # noqa: F401
