"""A name that is promised to other rolls; our own code imports it where it is."""

from rocks.core.errors import (  # noqa: F401
    BugError,
    BusyError,
    HostError,
    IncoherentError,
    PoolFullError,
    RocksError,
    StateError,
    ToolError,
    UserError,
)
