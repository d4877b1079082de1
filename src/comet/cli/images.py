"""`comet iso …`, also `comet image …`."""

from __future__ import annotations

import sys
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from comet.cli.context import Context, number
from comet.cli.output import columns, safe, show
from comet.cli.power import each, followed
from comet.client.client import Client
from comet.client.errors import NotFoundError, UsageError

_LONG_BYTES = 1 << 30


def show_images(context: Context) -> None:
    found = context.client.isos()
    if context.form == "table":
        for index, name in enumerate(found, 1):
            show(safe(f"{index}: {_short(name)}"))
        if not found:
            context.say("there is no image for your drives. Upload one: comet iso upload FILE")
    else:
        rows = [{"index": index, "name": _short(name)} for index, name in enumerate(found, 1)]
        context.print(rows, columns("index", "name"), lambda: found)


def upload(context: Context) -> None:
    seen = [-1]
    visible = not context.option("quiet") and sys.stderr.isatty()

    def progress(sent: int, total: int) -> None:
        percent = sent * 100 // max(total, 1)
        if visible and percent != seen[0]:
            seen[0] = percent
            sys.stderr.write(f"\r{percent:3d} % of {total} bytes")
            sys.stderr.flush()

    given = context.arguments.path, context.option("isoname"), context.option("project")
    with suppress(OSError, ValueError):  # the upload says what is wrong with the file
        size = Path(given[0]).stat().st_size
        if size > _LONG_BYTES:
            context.say(f"{given[0]} has {size / 1e9:.1f} GB: an upload that breaks off begins again")
    outcome = context.client.upload_iso(*given, progress)
    if seen[0] >= 0:
        sys.stderr.write("\n")
    waiter = context.waiter()
    if waiter:
        waiter.follow(outcome)
    show(f"{outcome.target} is {'in the library' if waiter else 'uploaded'}")


def delete(context: Context) -> None:
    image = _wire_name(context.client, context.arguments.image)
    context.confirm(f"This deletes the image {_short(image)}. Go on?")
    outcome = context.client.delete_iso(image)
    waiter = context.waiter()
    if waiter:
        waiter.follow(outcome)
    show(safe(f"{_short(image)} is {'' if waiter else 'being '}deleted"))


def attach(context: Context) -> int:
    image = _wire_name(context.client, context.arguments.image)
    name = _short(image)
    return _attach(context, image, f"{name} is being put into its drive", f"{name} from the next power-on")


def detach(context: Context) -> int:
    return _attach(context, "", "its drive is being emptied", "no image from the next power-on")


def _attach(context: Context, image: str, accepted: str, done: str) -> int:
    cluster, nodes = context.arguments.cluster, context.arguments.nodes
    outcomes = each(context, context.client.attach_each(cluster, image, nodes), accepted)
    return followed(context, cluster, outcomes, done)


def _short(name: str) -> str:
    return name.removeprefix("public/")


def _wire_name(client: Client, image: str) -> str:
    """The wire name of a name, with or without its folders, or of a number in the list."""
    if not image:
        raise UsageError("an image's name is empty; to empty a drive: comet iso detach")
    found = client.isos()
    if image.isascii() and image.isdigit():
        place = number(image, "a number of the list")
        if 0 < place <= len(found):
            return found[place - 1]
        counted = f"its numbers are 1 to {len(found)}" if found else "it is empty"
        raise NotFoundError(f"there is no image {image} in the list: {counted}. List them: comet iso list")
    if image in found:
        return image
    named = [it for it in found if it.rpartition("/")[2] == image]
    if len(named) > 1:
        raise UsageError(f"there are several images {image}: name one of {', '.join(named)}")
    if named:
        return named[0]
    near = get_close_matches(image, [_short(it) for it in found] + [it.rpartition("/")[2] for it in found], 1)
    meant = f" Did you mean: {near[0]}?" if near else ""
    raise NotFoundError(f"there is no image {image}.{meant} List them: comet iso list")
