"""The picture and the tables of docs/img-storage.md, drawn from what the daemons run; pure."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

from rocks.imgstorage.model import steps
from rocks.imgstorage.model.effects import AskHost, Effect, HostRequest
from rocks.imgstorage.model.events import REQUESTS, TABLE_EVENTS, Restarted
from rocks.imgstorage.model.facts import Stage
from rocks.imgstorage.model.host_actions import HostImage, sequence_for
from rocks.imgstorage.model.image import Image, Refusal, Step
from rocks.imgstorage.model.machine import entries_by_pair
from rocks.imgstorage.model.refusals import refusal_text
from rocks.imgstorage.model.states import STATES
from rocks.imgstorage.model.table import TABLE, Row

_STAGES: Tuple[Stage, ...] = ("none", "overlay", "merging", "linear", "remote")
_SAMPLE = Image(
    "1",
    "nas-0-0",
    "tank",
    "vm-vol",
    epoch=2,
    volume_guid="7",
    owner="vmh1",
    remote_pool="tank",
    initiator="iqn.vmh1",
    target="iqn.2001-04.com.nas-0-0:vm-vol.2",
    base_name="img-1-1-20260101T000000Z",
    base_guid="8",
)


def mermaid() -> str:
    """The states and the rows between them, as a state diagram; rows that stay where they are are left out."""
    arrows: Dict[Tuple[str, str], List[str]] = {}
    for row in _rows():
        target = "[*]" if row.to is None else row.to
        if row.state != row.to:
            words = arrows.setdefault((row.state, target), [])
            if _event(row) not in words:
                words.append(_event(row))
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> unmapped"]
    lines += [f"    {state} --> {target}: {', '.join(words)}" for (state, target), words in arrows.items()]
    return "\n".join([*lines, "```"])


def states_table() -> str:
    """Every state."""
    rows = [
        (state, fact.sentence, "yes" if fact.is_stable else "no", _seconds(fact.answer_seconds), fact.restart)
        for state, fact in STATES.items()
    ]
    return _table(
        ("state", "meaning", "may last", "answer within", "after a restart of the NAS's daemon"), rows
    )


def rows_table() -> str:
    """Every row, in the order in which they are asked."""
    rows = [
        (
            row.state,
            _event(row),
            "" if row.guard is None else row.guard.words,
            "(forgotten)" if row.to is None else row.to,
            row.starts or "",
            row.sentence,
        )
        for row in _rows()
        if row.event is not Restarted
    ]
    return _table(("state", "event", "if", "to", "begins step", "what"), rows)


def refusals_table() -> str:
    """What is said to a request that has no row in a state, or none whose question is answered yes."""
    entries = entries_by_pair()
    rows = []
    for event in TABLE_EVENTS:
        for state in STATES:
            known = entries.get((state, event), [])
            is_total = any(entry.guard is None for entry in known)
            if event in REQUESTS and not is_total:
                rows.append((state, event.__name__, _placeholders(refusal_text(state, event))))
    return _table(("state", "request", "refused with"), rows)


def steps_table() -> str:
    """The effects of every step, in order."""
    rows = [(step, " → ".join(_effect(effect) for effect in effects)) for step, effects in _sample_steps()]
    return _table(("step", "effects, in order"), rows)


def host_table() -> str:
    """What a host does for what it is asked, in order, by its stage."""
    rows = []
    for request in _sample_requests():
        for stage in _STAGES:
            found = sequence_for(request, HostImage("vm-vol", "tank", epoch=2, stage=stage), 2)
            if not isinstance(found, Refusal):
                names = " → ".join(type(effect).__name__ for effect in found)
                rows.append((type(request).__name__, stage, names or "nothing"))
    return _table(("asked for", "stage", "effects, in order"), rows)


def sections() -> Dict[str, str]:
    """What stands between the markers of the page, by their names."""
    return {
        "picture": mermaid(),
        "states": states_table(),
        "rows": rows_table(),
        "refusals": refusals_table(),
        "steps": steps_table(),
        "host": host_table(),
    }


def _rows() -> List[Row]:
    return [entry for entry in TABLE if isinstance(entry, Row)]


def _event(row: Row) -> str:
    if row.step is None:
        return row.event.__name__
    return f"{row.step} {'done' if row.event.__name__ == 'StepDone' else 'failed'}"


def _seconds(seconds: Optional[int]) -> str:
    return "" if seconds is None else f"{seconds} s"


def _effect(effect: Effect) -> str:
    if isinstance(effect, AskHost):
        return f"the host: {type(effect.request).__name__}"
    return type(effect).__name__


def _sample_steps() -> List[Tuple[Step, steps.Effects]]:
    image, name = _SAMPLE, "img-2-3-20260101T000000Z"
    return [
        ("prepare", steps.prepare(image, 0)),
        ("attach", steps.attach_overlay(image, sets_aside=False, room_bytes=0)),
        ("attach", steps.attach_linear(image)),
        ("attach", steps.attach_remote(image, sets_aside=False)),
        ("undo", steps.undo(image)),
        ("seed", steps.seed(image)),
        ("switch", steps.switch(image)),
        ("merge", steps.merge(image)),
        ("pull", steps.pull(image, name)),
        ("accept", steps.accept(image, "9", name)),
        ("settle", steps.settle(image)),
        ("drop", steps.drop(image)),
        ("detach", steps.detach(image)),
        ("return", steps.return_copy(image, 0)),
        ("home", steps.home(image, "9", name)),
        ("discard", steps.discard(image)),
        ("leave", steps.leave(image)),
        ("abandon", steps.abandon(image)),
        ("check", steps.check(image)),
        ("mark", steps.mark(image)),
        ("unmark", steps.release(image)),
        ("destroy", steps.destroy(image)),
        ("restore", steps.restore(image, name, "9", 0)),
        ("exchange", steps.exchange(image, name, "9")),
    ]


def _sample_requests() -> List[HostRequest]:
    found: List[HostRequest] = []
    for _, effects in _sample_steps():
        for effect in effects:
            if isinstance(effect, AskHost) and type(effect.request) not in [type(one) for one in found]:
                found.append(effect.request)
    return found


def _placeholders(text: str) -> str:
    return text.replace("{image.", "{").replace("{event.", "{")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
