"""The project's pages and what is code in them."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_COPIED = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_PROMPT = re.compile(r"^\s*[#$] (.*)$", re.MULTILINE)


def all_pages() -> list[Path]:
    """Every page that people read; the generated reference is left out."""
    pages = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]
    return sorted(page for page in pages if CHECKOUT / "docs" / "reference" not in page.parents)


def guides() -> list[Path]:
    """The pages whose commands people type."""
    root = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "NEWS.md")]
    return [*root, *sorted(CHECKOUT.glob("docs/guide/*.md")), *sorted(CHECKOUT.glob("docs/*.md"))]


def without_code(text: str) -> str:
    """A page's text without its code blocks and spans."""
    return _SPAN.sub("", _FENCE.sub("", text))


def typed_lines(text: str) -> list[str]:
    """What a page shows as typed: lines behind a prompt in its code blocks, all of shell blocks, its code spans."""
    blocks = "\n".join(_FENCE.findall(text))
    spans = [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text))]
    copied = [line for block in _COPIED.findall(text) for line in block.splitlines()]
    return _PROMPT.findall(blocks) + copied + spans


def operator_blocks(section: int) -> list[str]:
    """The blocks of a numbered section of the operator's guide, which are copied to a shell."""
    text = (CHECKOUT / "docs" / "guide" / "operator.md").read_text("utf-8")
    (found,) = [
        part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(f"{section}. ")
    ]
    return _COPIED.findall(found)
