"""What a roll is: the file roll-NAME.xml."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.install.graph.document import HostContext, attribute, parse_document, tag_of

if TYPE_CHECKING:
    from lxml import etree

INTERFACE = "4.0"
"""Version of the format of rolls; a roll states the one that it was made for."""

NO_ARCHITECTURE = "noarch"
"""Architecture of a roll whose packages run on every machine."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_+-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_]{0,31}")
_ARCHITECTURE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_REQUIREMENT = re.compile(rf"({_NAME.pattern})(?:>=({_VERSION.pattern}))?")
_NO_ENTITIES = HostContext({}, {}, {})


class RollId(NamedTuple):
    """A roll: its name, version and architecture, which are also its folder NAME/VERSION/ARCH."""

    name: str
    version: str
    arch: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.arch}"


class Requirement(NamedTuple):
    """Another roll that must be enabled, and its lowest version; '' for any."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}>={self.version}" if self.version else self.name


@dataclass(frozen=True)
class RollDescription:
    """The content of roll-NAME.xml. `maximum_mb` 0: any size. `made_at`: seconds since 1970, None when not stated."""

    roll: RollId
    release: str
    requirements: tuple[Requirement, ...] = ()
    maximum_mb: int = 0
    has_sources: bool = False
    made_at: int | None = None

    @property
    def iso_name(self) -> str:
        """File name of the roll's ISO."""
        return f"{self.roll.name}-{self.roll.version}-{self.release}.{self.roll.arch}.disk1.iso"


def read_description(data: bytes, place: str) -> RollDescription:
    """The description in a file at `place`.

    UserError or StateError, with the file, for what is missing, unknown or invalid.
    """
    root = parse_document(data, place, _NO_ENTITIES)
    if root.tag != "roll":
        raise UserError(f"{place} does not describe a roll: its root is <{tag_of(root)}> and not <roll>")
    parts = {tag_of(child): child for child in root}
    unknown = sorted(set(parts) - {"timestamp", "color", "info", "iso", "rpm", "author", "description"})
    if unknown:
        raise UserError(f"{place}: <{printable(unknown[0])}> is not a tag of rolls")
    if "info" not in parts:
        raise UserError(f'{place}: <info version="1.0" release="1" arch="x86_64" os="linux"/> is missing')
    interface = attribute(root, "interface", INTERFACE)
    if interface != INTERFACE:
        raise UserError(
            f'{place}: the roll was made for version "{printable(interface)}" of the format of rolls, and these '
            f"programs read version {INTERFACE}; get the roll for this release"
        )
    info = parts["info"]
    if attribute(info, "os", "linux") != "linux":
        raise UserError(
            f'{place}: the roll is for "{printable(attribute(info, "os"))}", and hosts here are linux'
        )
    roll = checked_roll(attribute(root, "name"), attribute(info, "version"), attribute(info, "arch"), place)
    return RollDescription(
        roll,
        _checked(_VERSION, "release", attribute(info, "release", "0") or "0", place),
        _requirements(parts.get("rpm"), place),
        _maximum_mb(parts.get("iso"), place),
        parts.get("rpm") is not None and attribute(parts["rpm"], "src", "0") not in ("", "0"),
        _moment(parts.get("timestamp"), place),
    )


def checked_roll(name: str, version: str, arch: str, place: str) -> RollId:
    """The roll, if each part is valid; UserError, with the `place` where it stands, otherwise."""
    return RollId(
        _checked(_NAME, "name", name, place),
        _checked(_VERSION, "version", version, place),
        _checked(_ARCHITECTURE, "arch", arch, place),
    )


def _checked(rule: re.Pattern[str], what: str, text: str, place: str) -> str:
    if not rule.fullmatch(text):
        raise UserError(
            f'{place}: the {what} of the roll is "{printable(text)}"; it must match {rule.pattern}, as in '
            f"{ {'name': 'hello-world', 'version': '1.0', 'release': '1', 'arch': 'x86_64'}[what] }"
        )
    return text


def _requirements(element: etree._Element | None, place: str) -> tuple[Requirement, ...]:
    stated = attribute(element, "rolls") if element is not None else ""
    if stated == "0":  # rolls of Rocks have this for none
        return ()
    found = []
    for text in stated.replace(",", " ").split():
        match = _REQUIREMENT.fullmatch(text)
        if match is None:
            raise UserError(
                f'{place}: the needed roll "{printable(text)}" must be written as name or name>=version'
            )
        found.append(Requirement(match[1], match[2] or ""))
    return tuple(found)


def _maximum_mb(element: etree._Element | None, place: str) -> int:
    text = attribute(element, "maxsize", "0") if element is not None else "0"
    if not re.fullmatch(r"[0-9]{1,9}", text or "0"):
        raise UserError(f'{place}: maxsize is the largest ISO in MB, or 0, and not "{printable(text)}"')
    return int(text or "0")


def _moment(element: etree._Element | None, place: str) -> int | None:
    """The time in the tag, which is UTC whatever its attribute tz states: the same ISO everywhere."""
    if element is None or not attribute(element, "date"):
        return None
    text = f"{attribute(element, 'date')} {attribute(element, 'time') or '00:00:00'}"
    try:
        made = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(
            f'{place}: the timestamp "{printable(text)}" must be written as date="2026-01-31" time="12:00:00"'
        ) from None
    return int(made.timestamp())
