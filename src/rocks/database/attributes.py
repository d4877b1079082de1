"""A name that is promised to other rolls; our own code imports it where it is."""

from rocks.inventory.attributes.records import resolve_attributes  # noqa: F401
