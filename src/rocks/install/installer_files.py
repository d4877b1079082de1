"""Files for installers, and scripts, made of documents of nodes. No database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.install.graph.installer_profile import installer_profile, read_section
from rocks.install.graph.node_documents import read_documents
from rocks.install.graph.profile import Profile
from rocks.install.graph.records import HostContext
from rocks.install.graph.shell import shell_script
from rocks.install.graph.tags import node_of, read_node
from rocks.install.graph_files import Library, first_boot_files, shell_functions
from rocks.inventory.attributes.known import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.install.graph.expansion import Frontend

INPUT = "the standard input"
"""The place of a document that came from another command, for messages."""


def profile_of_document(text: str) -> str:
    """The XML profile of the host for which the document was generated. RocksError for a document that is invalid."""
    profile, values = _profile(text, {}, None)
    return installer_profile(profile, shell_functions(), values.get("packaging", ""), first_boot_files())


def installer_file(text: str, section: str) -> str:
    """The text of a section of an XML profile: `kickstart`, `preseed` or `order`."""
    return read_section(text, INPUT, section)


def post_script(text: str, attributes: Mapping[str, str]) -> str:
    """The sections after an installation of the nodes in the documents, as one script that can be repeated.

    Programs in the nodes are executed.
    """
    profile, _ = _profile(text, attributes, Library())
    nodes = tuple(replace(node, packages=()) for node in profile.nodes)
    return _script(Profile(profile.host, nodes), "rocks report post")


def file_script(text: str, attributes: Mapping[str, str]) -> str:
    """The text, in which tags `file` are files, as one script that can be repeated."""
    data = f"<kickstart><post>{text}</post></kickstart>".encode()
    node = read_node("input", INPUT, data, HostContext(attributes, attributes, {}), Library())
    host = attributes.get("hostname", "")
    return _script(Profile(host, (replace(node, packages=()),)), "rocks report script")


def _profile(
    text: str, attributes: Mapping[str, str], frontend: Frontend | None
) -> tuple[Profile, Mapping[str, str]]:
    document = read_documents(text, INPUT, attributes, frontend)
    values = document.context.attributes
    nodes = tuple(node_of(tree, document.context) for tree in document.trees)
    return Profile(values.get("hostname", ""), nodes), values


def _script(profile: Profile, origin: str) -> str:
    return shell_script(profile, shell_functions(), KNOWN["packaging"].default, origin)
