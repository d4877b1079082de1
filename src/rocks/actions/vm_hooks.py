"""A name that is promised to other rolls; our own code imports it where it is."""

from rocks.machine.hooks import HookResult  # noqa: F401
