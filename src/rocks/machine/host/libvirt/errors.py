"""Errors of libvirt as ours; nothing is printed by libvirt itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Tuple

import libvirt  # noqa: TID251 - of this folder

from rocks.core.errors import ToolError

# libvirt would print every error on standard error besides raising it
libvirt.registerErrorHandler(lambda context, error: None, None)


@contextmanager
def libvirt_errors(what: str, but: Tuple[int, ...] = ()) -> Iterator[None]:
    """Turn libvirtError into ToolError; an error with a code in `but` ends the block without an error."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in but:
            raise ToolError(f"libvirt on this host did not {what}: {message_of(error)}") from None


def message_of(error: libvirt.libvirtError) -> str:
    """libvirt's text of an error, in one line."""
    return (error.get_error_message() or str(error)).strip().replace("\n", " ")
