"""`comet iso …`, also `comet image …`."""

from __future__ import annotations

import sys

from comet.cli.context import Context
from comet.cli.output import columns, show
from comet.cli.power import each, followed
from comet.client.client import Client
from comet.client.errors import NotFoundError, UsageError

_PUBLIC = "public/"


def show_images(context: Context) -> None:
    found = context.client.isos()
    if context.form == "table":
        from comet.cli.output import safe

        for index, name in enumerate(found):
            show(safe(f"{index}: {_short(name)}"))
    else:
        rows = [{"index": index, "name": _short(name)} for index, name in enumerate(found)]
        context.print(rows, columns("index", "name"), lambda: found)


def upload(context: Context) -> None:
    seen = [-1]

    def progress(sent: int, total: int) -> None:
        percent = sent * 100 // max(total, 1)
        if (
            percent != seen[0]
            and not context.option("quiet")
            and sys.stderr is not None
            and sys.stderr.isatty()
        ):
            seen[0] = percent
            sys.stderr.write(f"\r{percent:3d} % of {total} bytes")
            sys.stderr.flush()

    name = context.client.upload_iso(context.arguments.path, context.option("isoname"), progress)
    if seen[0] >= 0:
        sys.stderr.write("\n")
    show(f"{_short(name)} is uploaded")


def attach(context: Context) -> int:
    given, client = context.arguments, context.client
    image = _wire_name(client, given.image)
    outcomes = each(
        client.attach_each(given.cluster, image, given.nodes), f"{_short(image)} from the next power-on"
    )
    return followed(context, given.cluster, outcomes, None)


def detach(context: Context) -> int:
    given = context.arguments
    outcomes = each(
        context.client.attach_each(given.cluster, "", given.nodes), "no image from the next power-on"
    )
    return followed(context, given.cluster, outcomes, None)


def _short(name: str) -> str:
    return name[len(_PUBLIC) :] if name.startswith(_PUBLIC) else name


def _wire_name(client: Client, image: str) -> str:
    """The wire name of a name, with or without its folder, or of a number in the list."""
    if not image:
        raise UsageError("an image's name is empty; to empty a drive: comet iso detach")
    found = client.isos()
    if image.isascii() and image.isdigit():
        if int(image) < len(found):
            return found[int(image)]
    elif image in found or _PUBLIC + image in found:
        return image if image in found else _PUBLIC + image
    raise NotFoundError(f"there is no image {image}. List them: comet iso list")
