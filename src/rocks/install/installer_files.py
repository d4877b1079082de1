"""Files for installers, XML profiles of them, and scripts, made of documents of nodes. No database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.install.graph.document import HostContext, parse_document
from rocks.install.graph.kickstart import kickstart_file, order_comment
from rocks.install.graph.node_documents import read_documents
from rocks.install.graph.preseed import preseed_file
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import shell_script
from rocks.install.graph.tags import node_of, read_node
from rocks.install.graph_files import Library, first_boot_files, shell_functions
from rocks.install.node_file_checks import check_sections
from rocks.inventory.attributes.known import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.install.graph.tags import Frontend

INPUT = "the standard input"
"""The place of a document that came from another command, for messages."""


def profile_of_document(text: str) -> str:
    """The XML profile of the host for which the document was generated, with the file for its installer.

    Of a host with Debian's packages that is the section `preseed`, of any other `kickstart`. RocksError for a document
    that is invalid.
    """
    profile, values = _profile(text, {}, None)
    check_sections(profile.nodes)
    packaging = "deb" if values.get("packaging", "") == "deb" else "rpm"
    functions, files = shell_functions(), first_boot_files()
    script = shell_script(profile, functions, packaging, "rocks list host profile")
    if packaging == "deb":
        kind, content = "preseed", preseed_file(profile, script, files)
    else:
        kind, content = "kickstart", kickstart_file(profile, functions, script, files)
    order = "\n".join(order_comment(profile)) + "\n"
    return (
        '<?xml version="1.0" standalone="no"?>\n'
        f'<profile lang="{kind}">\n'
        f'<section name="order">{_cdata(order)}</section>\n'
        f'<section name="{kind}">{_cdata(content)}</section>\n'
        "</profile>\n"
    )


def installer_file(text: str, name: str) -> str:
    """The text of a section of an XML profile: `kickstart`, `preseed` or `order`.

    StateError for invalid XML; UserError for a section that it has not.
    """
    root = parse_document(text.encode(), INPUT, HostContext({}, {}, {}))
    if root.tag != "profile":
        raise StateError(
            f"{INPUT} is not a profile: its root is <{root.tag}>; rocks list host profile prints one"
        )
    found = {str(section.get("name")): section for section in root}
    if name not in found:
        raise UserError(
            f"the profile has no section {name}, only {', '.join(sorted(found))}{_advice(name, list(found))}"
        )
    return found[name].text or ""


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


def _advice(name: str, found: list[str]) -> str:
    """Why a host has a file for the other installer."""
    if name == "kickstart" and "preseed" in found:
        return "; the host has Debian's packages: rocks set host attr HOST packaging rpm"
    if name == "preseed" and "kickstart" in found:
        return "; the host does not have Debian's packages: rocks set host attr HOST packaging deb"
    return ""


def _cdata(text: str) -> str:
    # a parser changes \r outside of references, and the section ends at the first ]]>
    text = text.replace("]]>", "]]]]><![CDATA[>").replace("\r", "]]>&#13;<![CDATA[")
    return f"<![CDATA[{text}]]>"
