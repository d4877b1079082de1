"""The version of this system, for attributes and reports."""

from __future__ import annotations

from rocks import __version__

ROLL_NAME = "rocks-virtual-clusters"
"""The roll of these programs; version.mk repeats it, and a test holds them together."""

PACKAGED_MODULES = "/opt/rocks/lib/python"
"""Where packages put the modules (docs/packaging.md)."""

PACKAGED_PAGES = "/usr/share/doc/rocks-cli"
"""Where the frontend's package has the folder `guide`, and the pages to which it refers, as they lie in docs."""


def is_packaged(module_file: str = __file__) -> bool:
    """Whether these programs come from packages, not from a checkout."""
    return module_file.startswith(f"{PACKAGED_MODULES}/")


def guide_page(name: str, module_file: str = __file__) -> str:
    """The path of a page of the operator's guide on this machine, such as broker.md, for a message that names it."""
    if is_packaged(module_file):
        return f"{PACKAGED_PAGES}/guide/{name}"
    return f"{module_file.removesuffix('src/rocks/core/version.py')}docs/guide/{name}"


def rocks_version_attributes() -> dict[str, str]:
    """Attributes that no one can override."""
    return {
        "rocks_release": __version__,
        "rocks_version": __version__,
        "rocks_version_major": __version__.partition(".")[0],
        "version": __version__,
    }
