"""The version of this system, for attributes and reports."""

from __future__ import annotations

from rocks import __version__

ROLL_NAME = "rocks-virtual-clusters"
"""The roll of these programs; version.mk repeats it, and a test holds them together."""

PACKAGED_MODULES = "/opt/rocks/lib/python"
"""Where packages put the modules (docs/packaging.md)."""


def is_packaged(module_file: str = __file__) -> bool:
    """Whether these programs come from packages, not from a checkout."""
    return module_file.startswith(f"{PACKAGED_MODULES}/")


def rocks_version_attributes() -> dict[str, str]:
    """Attributes that no one can override (specification §2.2, forced)."""
    return {
        "rocks_release": __version__,
        "rocks_version": __version__,
        "rocks_version_major": __version__.partition(".")[0],
        "version": __version__,
    }
