"""A secret that a person types unseen."""

import os
import pty
import subprocess  # noqa: TID251 - a process with a terminal of its own
import sys

PROGRAM = """
from rocks.core.errors import UserError
from rocks.trust.secrets import read_secret
try:
    print("read", read_secret(""))
except UserError as error:
    print("refused:", error)
"""


def typed(keys: bytes) -> str:
    """What the program prints after these keys."""
    ours, its = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=its,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stderr is not None
        assert process.stderr.read(7) == b"value: "  # what is typed before it is discarded
        os.write(ours, keys)
        output, _ = process.communicate(timeout=60)
    finally:
        os.close(its)
        os.close(ours)
    return output.decode()


def test_the_end_of_the_input_is_no_fault() -> None:
    assert typed(b"\x04") == "refused: the input ended; nothing was stored\n"
    assert typed("s\u00e9same\n".encode()) == "read s\u00e9same\n"
