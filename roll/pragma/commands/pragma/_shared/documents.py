"""XML of other people, read within bounds: no entity, no DTD, no network, no deep or large tree. Pure."""

from __future__ import annotations

from lxml import etree

from rocks.core.errors import UserError
from rocks.core.terminal import one_line

MAX_BYTES = 64 * 1024
"""The largest document."""


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
        raise UserError(f"{what} is not well-formed XML: {one_line(str(error))[:200]}") from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # lxml-stubs do not know it
        raise UserError(f"{what} has a document type (DOCTYPE); remove it")
    return root
