"""Help for owners: their guide as a page, and the glossary's terms of the pages; both as they are installed."""

from __future__ import annotations

import functools
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.version import guide_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_INLINE = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)]+)\)|\*([^*\s][^*]*)\*")


def guide() -> str | None:
    """The owner's guide as HTML, without its pictures, which are of these pages; None where it is not installed."""
    text = _text(guide_page("owners.md"))
    return None if text is None else "\n".join(_blocks(text.splitlines()))


@functools.lru_cache(1)
def terms() -> dict[str, str]:
    """The meaning of each term of the pages; none where the glossary is not installed."""
    text = _text(str(Path(guide_page("owners.md")).parent.parent / "glossary.md")) or ""
    section = text.partition("\n## Terms of the pages\n")[2].partition("\n## ")[0]
    rows = [_cells(line) for line in section.splitlines() if line.startswith("| ")]
    return dict(rows[1:])


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8")
    except FileNotFoundError:
        return None


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """HTML of each heading, paragraph, table and block of code."""
    at = 0
    while at < len(lines):
        line, first = lines[at], at
        if line.startswith("```"):
            at = lines.index("```", at + 1) + 1
            yield _code(lines[first + 1 : at - 1])
        elif line.startswith("    "):
            at = _end(lines, at, lambda one: one.startswith("    "))
            yield _code([one[4:] for one in lines[first:at]])
        elif line.startswith("|"):
            at = _end(lines, at, lambda one: one.startswith("|"))
            yield _table(lines[first:at])
        elif line.startswith("#"):
            at += 1
            level, _, title = line.partition(" ")
            if level != "#":  # that one is the title of the page
                yield f'<h{len(level)} id="{_anchor(title)}">{_inline(title)}</h{len(level)}>'
        elif not line or line.startswith("!["):
            at += 1
        else:
            at = _end(lines, at, lambda one: bool(one) and one[0] not in "|#" and not one.startswith("```"))
            yield f"<p>{_inline(' '.join(lines[first:at]))}</p>"


def _end(lines: Sequence[str], at: int, is_same: Callable[[str], bool]) -> int:
    """Where the lines from `at` on are not of the same kind any more."""
    return next((index for index in range(at, len(lines)) if not is_same(lines[index])), len(lines))


def _code(lines: Sequence[str]) -> str:
    return f'<pre tabindex="0">{html.escape(chr(10).join(lines))}</pre>'


def _cells(line: str) -> list[str]:
    return [one.strip().replace(r"\|", "|") for one in re.split(r"(?<!\\)\|", line)[1:-1]]


def _table(lines: Sequence[str]) -> str:
    head, _, *rows = map(_cells, lines)
    parts = [f"<tr>{''.join(f'<th>{_inline(one)}' for one in head)}"]
    parts += [f"<tr>{''.join(f'<td>{_inline(one)}' for one in row)}" for row in rows]
    return f"<table>{''.join(parts)}</table>"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _inline(text: str) -> str:
    return _INLINE.sub(_marked, html.escape(text, quote=False))


def _marked(found: re.Match[str]) -> str:
    """Code, emphasis or a link; of a link to another document, which is no page here, the text alone."""
    code, label, target, stressed = found.groups()
    if code:
        return f"<code>{code}</code>"
    if stressed:
        return f"<em>{_INLINE.sub(_marked, stressed)}</em>"
    text = _INLINE.sub(_marked, label)
    return f'<a href="{html.escape(target)}">{text}</a>' if target.startswith("#") else text
