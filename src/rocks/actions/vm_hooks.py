"""A name that is promised to other rolls; our own code imports it where it is."""

from rocks.machine.outcomes import HookResult  # noqa: F401
