"""Files and XML of other people, read within bounds: no entity, no DTD, no network, no deep or large tree."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from lxml import etree

from rocks.core.errors import UserError
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024
"""The largest document."""


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a file, of which at most one byte more than `max_bytes`: who reads it refuses what is too large.

    OSError for one that cannot be opened; UserError, without waiting, for a device or a pipe.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UserError(f"{path} is not a plain file; replace it by one")
        return file.read(max_bytes + 1)


def reason_of(error: OSError | ValueError) -> str:
    """Why a file could not be read; the system's words without its number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_document(data: bytes, what: str, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root element of a document of at most `max_bytes`. `what` names it in errors.

    UserError for what is too large, is not well-formed, or has a document type, which could define entities.
    """
    if len(data) > max_bytes:
        raise UserError(f"{what} has more than {max_bytes} bytes; this is not the description of a cluster")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(
            error
        )  # the text of the former also names a file <string>
        raise UserError(f"{what} is not well-formed XML: {one_line(reason)[:200]}") from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # lxml-stubs do not know it
        raise UserError(f"{what} has a document type (DOCTYPE); remove it")
    return root
