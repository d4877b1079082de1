"""The one place that writes a command's output: a reader may go away, a disk may be full."""

from __future__ import annotations

import os
import sys

from rocks.errors import HostError


def write_out(text: str) -> None:
    """Write to standard output at once.

    When the reader has gone away (`rocks list host | head`) the rest has no reader and the work goes on.
    HostError when the output cannot be written for another reason, a full disk for one.
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
            f"cannot write the output: {error.strerror}; what the command did stays done"
        ) from None


def _drop_output() -> None:
    # What is still in the buffer would otherwise fail once more when the interpreter ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
