"""The portal: pages for owners and operators, whose scripts use the REST interface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.parts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter, Request
    from starlette.responses import Response

    from nucleus.api.problems import Problem


def _routers() -> Sequence[APIRouter]:
    from owners.portal import pages

    return [pages.router]


def _files(_: object) -> Mapping[str, Path]:
    return {"": Path(__file__).parent / "static"}


def _page_of_refusal(problem: Problem, request: Request) -> Response | None:
    from owners.portal import pages

    return pages.page_of_refusal(problem, request)


PART = Part(routers=_routers, files=_files, page_of_refusal=_page_of_refusal)
