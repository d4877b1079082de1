"""Writes a command's output, and handles a closed pipe and a full disk."""

from __future__ import annotations

import os
import sys

from rocks.errors import HostError


def write_out(text: str) -> None:
    """Write to standard output at once.

    When the reader has closed the pipe (`rocks list host | head`), the rest is dropped and the command continues.
    HostError when the output cannot be written for another reason, such as a full disk.
    """
    if sys.stdout is None:  # a caller may have closed it
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        _drop_output()
        raise HostError(
            f"cannot write the output: {error.strerror}; the command itself was executed"
        ) from None


def _drop_output() -> None:
    # The rest of the buffer would otherwise fail again when the interpreter ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
