"""The XML profile that `list host profile` prints: the whole file for an installer in a CDATA section."""

from __future__ import annotations

from rocks.core.errors import StateError, UserError
from rocks.install.graph.document import parse_document
from rocks.install.graph.first_boot import FirstBootFiles
from rocks.install.graph.kickstart import kickstart_file, order_comment
from rocks.install.graph.preseed import preseed_file
from rocks.install.graph.profile import Profile
from rocks.install.graph.records import HostContext
from rocks.install.graph.shell import shell_script

ORIGIN = "rocks list host profile"


def installer_profile(profile: Profile, functions: str, packaging: str, files: FirstBootFiles) -> str:
    """The profile: `packaging` deb has the section `preseed`, any other the section `kickstart`."""
    script = shell_script(profile, functions, "deb" if packaging == "deb" else "rpm", ORIGIN)
    if packaging == "deb":
        kind, text = "preseed", preseed_file(profile, script, files)
    else:
        kind, text = "kickstart", kickstart_file(profile, functions, script, files)
    order = "\n".join(order_comment(profile)) + "\n"
    return (
        '<?xml version="1.0" standalone="no"?>\n'
        f'<profile lang="{kind}">\n'
        f'<section name="order">{_cdata(order)}</section>\n'
        f'<section name="{kind}">{_cdata(text)}</section>\n'
        "</profile>\n"
    )


def read_section(text: str, place: str, name: str) -> str:
    """The text of a section of a profile. StateError for invalid XML; UserError for a section that it has not."""
    root = parse_document(text.encode(), place, HostContext({}, {}, {}))
    if root.tag != "profile":
        raise StateError(
            f"{place} is not a profile: its root is <{root.tag}>; rocks list host profile prints one"
        )
    found = {str(section.get("name")): section for section in root}
    if name not in found:
        raise UserError(
            f"the profile has no section {name}, only {', '.join(sorted(found))}{_advice(name, list(found))}"
        )
    return found[name].text or ""


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
