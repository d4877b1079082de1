"""Parsers of the output of `zfs -H -p`; pure. Tested with OpenZFS 2.1."""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from rocks.core.errors import StateError, ToolError
from rocks.storage.zfs.facts import BookmarkFact, History, SnapshotFact, TokenFact, VolumeFact
from rocks.storage.zfs.names import AUTOMATIC, OUR_PREFIX

VALUE_COLUMNS = "name,property,value,source"
"""Columns of `zfs get` for `parse_volumes`."""

HISTORY_COLUMNS = f"name,guid,createtxg,creation,referenced,written,userrefs,clones,{AUTOMATIC}"
"""Columns of `zfs list` for `parse_history`."""

_OWN_SOURCES = ("local", "received")
_TOKEN_LINE = re.compile(r"\s*(\w+) = (\S.*)")
_SIZE_LINE = re.compile(r"^size\t(\d+)$", re.MULTILINE)


def parse_values(text: str) -> Dict[str, Dict[str, str]]:
    """Properties by dataset, without inherited `imgstore:` properties (`zfs get -o name,property,value,source`)."""
    datasets: Dict[str, Dict[str, str]] = {}
    for name, key, value, source in _rows(text, 4):
        values = datasets.setdefault(name, {})
        if not key.startswith(OUR_PREFIX) or source in _OWN_SOURCES:
            values[key] = value
    return datasets


def parse_volumes(text: str) -> Tuple[VolumeFact, ...]:
    """The volumes of a `zfs get all`, by name, without file systems."""
    volumes = [
        volume_of(name, values)
        for name, values in parse_values(text).items()
        if values.get("type") == "volume"
    ]
    return tuple(sorted(volumes))


def volume_of(name: str, values: Mapping[str, str]) -> VolumeFact:
    """A volume from its properties; during an interrupted first receive it has no size."""
    return VolumeFact(
        name,
        values["guid"],
        size_bytes=_number(values.get("volsize")),
        block_bytes=_number(values.get("volblocksize")),
        used_bytes=_number(values.get("used")),
        written_bytes=_number(values.get("written")),
        reserved_bytes=_number(values.get("refreservation")),
        origin=_optional(values.get("origin")),
        resume_token=_optional(values.get("receive_resume_token")),
        properties=own_properties(values),
        referenced_bytes=_number(values.get("referenced")),
        is_synchronous=values.get("sync") == "always",
        is_read_only=values.get("readonly") == "on",
    )


def own_properties(values: Mapping[str, str]) -> Tuple[Tuple[str, str], ...]:
    """The `imgstore:` properties, sorted."""
    return tuple(sorted((key, value) for key, value in values.items() if key.startswith(OUR_PREFIX)))


def parse_history(text: str, holds: Mapping[str, Tuple[str, ...]]) -> History:
    """Snapshots and bookmarks of one volume; `holds` by full snapshot name (`parse_holds`)."""
    snapshots: List[SnapshotFact] = []
    bookmarks: List[BookmarkFact] = []
    for name, guid, txg, created, referenced, written, _, clones, automatic in _rows(text, 9):
        if "#" in name:
            bookmarks.append(BookmarkFact(name.partition("#")[2], guid, int(txg)))
            continue
        snapshots.append(
            SnapshotFact(
                name.partition("@")[2],
                guid,
                int(txg),
                int(created),
                _number(referenced),
                _number(written),
                holds.get(name, ()),
                tuple(sorted(clone for clone in clones.split(",") if clone not in ("", "-"))),
                automatic == "on",
            )
        )
    snapshots.sort(key=lambda snapshot: snapshot.createtxg)
    bookmarks.sort(key=lambda bookmark: (bookmark.createtxg, bookmark.name))
    return History(tuple(snapshots), tuple(bookmarks))


def held_names(text: str) -> Tuple[str, ...]:
    """Full names of the snapshots with holds, from the same listing."""
    return tuple(row[0] for row in _rows(text, 9) if "@" in row[0] and _number(row[6]) > 0)


def parse_holds(text: str) -> Dict[str, Tuple[str, ...]]:
    """Tags by full snapshot name, sorted (`zfs holds -H`)."""
    holds: Dict[str, List[str]] = {}
    for name, tag, _ in _rows(text, 3):
        holds.setdefault(name, []).append(tag)
    return {name: tuple(sorted(tags)) for name, tags in holds.items()}


def parse_token(text: str, message: str) -> TokenFact:
    """A resume token, from `zfs send -n -v -t`, which prints the contents even when it then fails with `message`.

    StateError when the token is invalid, or has a field twice: another machine wrote it, and a name in it can contain
    lines that look like fields.
    """
    fields: Dict[str, str] = {}
    for match in filter(None, map(_TOKEN_LINE.fullmatch, text.splitlines())):
        if fields.setdefault(match.group(1), match.group(2)) != match.group(2):
            raise StateError(
                f"the resume token is invalid: it has the field {match.group(1)} twice; discard the partial receive "
                "and send again"
            )
    try:
        start = fields.get("fromguid")
        return TokenFact(
            to_guid=str(int(fields["toguid"], 16)),
            from_guid=None if start is None else str(int(start, 16)),
            to_name=fields["toname"],
            bytes_done=int(fields["bytes"], 16),
        )
    except (KeyError, ValueError):
        raise StateError(
            f"the resume token is invalid: {message or 'it is empty'}; discard the partial receive and send again"
        ) from None


def parse_estimate(text: str) -> int:
    """Bytes of a stream, from `zfs send -n -P`; 0 for a negative number, which it prints as one near 2^64.

    For the rest of a stream it subtracts what was sent from an estimate, which may be less.
    """
    match = _SIZE_LINE.search(text)
    if match is None:
        raise ToolError(f"zfs send -n printed no size: {text.strip()[:200]!r}")
    size_bytes = int(match.group(1))
    return size_bytes if size_bytes < 2**63 else 0


def _rows(text: str, columns: int) -> Iterator[List[str]]:
    for line in text.splitlines():
        row = line.split("\t")
        if len(row) != columns:
            raise ToolError(f"zfs printed a line that is no row of {columns} columns: {line[:200]!r}")
        yield row


def _number(value: Optional[str]) -> int:
    return int(value) if value is not None and value.isdigit() else 0


def _optional(value: Optional[str]) -> Optional[str]:
    return None if value in (None, "", "-") else value
