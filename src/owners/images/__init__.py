"""Images for owners: ISOs, how they come into the library of the site and into drives, and fresh disks of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fastapi import APIRouter

    from nucleus.mirror.pool import Session
    from nucleus.operations.job import Job
    from nucleus.parts import Polled
    from nucleus.records import JsonObject, NewEvent


def _routers() -> Sequence[APIRouter]:
    from owners.images import disks, image_uploads, rest

    return [image_uploads.router, rest.router, disks.router]


def _verbs() -> Mapping[str, Callable[[Job], JsonObject]]:
    from owners.images import work

    return {
        "attach_iso": work.attach_iso,
        "add_image": work.add_image,
        "remove_image": work.remove_image,
        "reinstall": work.reinstall,
        "clone": work.clone,
    }


def _on_poll(session: Session, sources: Collection[str]) -> Callable[[Session, Polled], Sequence[NewEvent]]:
    from nucleus.backends.rocks import LIBRARY
    from owners.images.records import enter_library, public_names

    names = public_names(session) if LIBRARY.name in sources else set[str]()

    def store(session: Session, polled: Polled) -> Sequence[NewEvent]:
        return [] if polled.library is None else enter_library(session, polled.library, names)

    return store


def _names_of_media(session: Session) -> Mapping[str, str]:
    from owners.images.records import references

    return references(session)


PART = Part(routers=_routers, verbs=_verbs, on_poll=_on_poll, names_of_media=_names_of_media)
