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

    given = context.arguments.path, context.option("isoname"), context.option("project")
    outcome = context.client.upload_iso(*given, progress)
    if seen[0] >= 0:
        sys.stderr.write("\n")
    waiter = context.waiter()
    if waiter:
        waiter.follow(outcome)
    show(f"{outcome.target} is {'in the library' if waiter else 'uploaded'}")


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
    """The wire name of a name, with or without its folders, or of a number in the list."""
    if not image:
        raise UsageError("an image's name is empty; to empty a drive: comet iso detach")
    found = client.isos()
    if image.isascii() and image.isdigit():
        if int(image) < len(found):
            return found[int(image)]
    elif image in found:
        return image
    else:
        named = [it for it in found if it.rpartition("/")[2] == image]
        if len(named) > 1:
            raise UsageError(f"there are several images {image}: name one of {', '.join(named)}")
        if named:
            return named[0]
    raise NotFoundError(f"there is no image {image}. List them: comet iso list")
