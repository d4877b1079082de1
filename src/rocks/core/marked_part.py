"""Our part of a file that others write as well: between two lines that mark it. Pure."""

from __future__ import annotations

from rocks.core.errors import StateError

BEGIN = "# begin of rocks: written by rocks sync config; changes between these lines are lost"
END = "# end of rocks"
_BEGINS = "# begin of rocks"


def with_part(old: str, part: str, path: str) -> str:
    """The text of the file with `part`, whole lines, as our part; everything else stays as it is.

    A new part comes at the end; an empty one is removed with its marks. StateError when the marks in the file are not
    one of each, in their order. `path` is the file's, for the message.
    """
    lines = old.splitlines(keepends=True)
    begins = [place for place, line in enumerate(lines) if line.startswith(_BEGINS)]
    ends = [place for place, line in enumerate(lines) if line.rstrip("\n") == END]
    if len(begins) > 1 or len(ends) != len(begins) or (begins and ends[0] < begins[0]):
        raise StateError(
            f'{path} does not have one line "{_BEGINS} …" and one line "{END}" after it: remove these lines and what '
            "is between them, then repeat the command"
        )
    ours = [f"{BEGIN}\n", part, f"{END}\n"] if part else []
    if begins:
        return "".join([*lines[: begins[0]], *ours, *lines[ends[0] + 1 :]])
    gap = "\n" if ours and old and not old.endswith("\n") else ""
    return "".join([old, gap, *ours])
