"""The SSH library, imported without its optional dependency `invoke`."""

from __future__ import annotations

import logging
import sys

# paramiko 5 imports `invoke` when present, for configuration files that this system does not read; it costs 40 ms
_hidden = {"invoke"} - set(sys.modules)
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]  # None makes the import fail
import paramiko  # noqa: E402, TID251 - the one import of the library
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey  # noqa: E402, TID251

for _name in _hidden:
    del sys.modules[_name]

# without a handler Python prints the library's warnings on standard error
logging.getLogger("paramiko").addHandler(logging.NullHandler())

__all__ = ["HostKeyEntry", "InvalidHostKey", "paramiko"]
