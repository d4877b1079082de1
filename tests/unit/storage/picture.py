"""The picture and tables of docs/image-storage-internals.md and tests/golden/image_life, made from the code; pure."""

from __future__ import annotations

from collections.abc import Sequence

from rocks.storage.host.effects import HostEffect
from rocks.storage.host.sequences import sequence_for
from rocks.storage.image import rejections
from rocks.storage.image.effects import AskHost, Effect, HostRequest
from rocks.storage.image.events import CopyFound, Event, Request, Restarted
from rocks.storage.image.image import Facts, HostImage, Image, Rejection, Stage, Step
from rocks.storage.image.rows import Row
from rocks.storage.image.state_machine import TABLE, entries_by_pair
from rocks.storage.image.states import STATES, State
from rocks.storage.nas import sequences

_STAGES: tuple[Stage, ...] = ("none", "overlay", "merging", "linear", "remote")
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
    pending_name="img-2-3-20260101T000000Z",
    final_guid="9",
    peer="nas-0-1",
    peer_pool="tank",
)


class _Event:
    """The fields that sequences read of the event that begins their step."""

    facts = Facts(guid="9")
    snapshot_name = "img-2-3-20260101T000000Z"
    snapshot_guid = "9"
    size_bytes = 1


def mermaid() -> str:
    """The states and the rows between them, as a state diagram, without rows that stay in their state."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in _rows():
        target = "[*]" if row.to is None else row.to
        if row.state != row.to:
            names = arrows.setdefault((row.state, target), [])
            if _event(row) not in names:
                names.append(_event(row))
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> unmapped"]
    lines += [f"    {state} --> {target}: {', '.join(names)}" for (state, target), names in arrows.items()]
    return "\n".join([*lines, "```"])


def states_table() -> str:
    """Every state."""
    rows = [
        (state, fact.sentence, "yes" if fact.is_stable else "no", _seconds(fact.answer_seconds), fact.restart)
        for state, fact in STATES.items()
    ]
    return _table(
        ("state", "meaning", "may last", "answer within", "after a restart of the NAS daemon"), rows
    )


def rows_table() -> str:
    """Every row, in the order in which they are tried."""
    rows = [
        (
            row.state,
            _event(row),
            "" if row.guard is None else row.guard.text,
            "(forgotten)" if row.to is None else row.to,
            row.starts or "",
            row.sentence,
        )
        for row in _rows()
        if row.event is not Restarted
    ]
    return _table(("state", "event", "if", "to", "begins step", "what"), rows)


def rejection_text(state: State, event: type[Event]) -> str:
    """The text with its placeholders."""
    _, text = rejections._template(state, event)
    return text.replace("{doing}", rejections._DOING[state])


def rejections_table() -> str:
    """The rejection of each request that has no row in a state, or none whose guard holds."""
    entries = entries_by_pair()
    rows = []
    for event in (*Request.__subclasses__(), CopyFound):
        for state in STATES:
            known = entries.get((state, event), [])
            if all(entry.guard is not None for entry in known):
                rows.append((state, event.__name__, _placeholders(rejection_text(state, event))))
    return _table(("state", "request", "rejected with"), rows)


def steps_table() -> str:
    """The effects of every step, in order."""
    rows = [(step, " → ".join(_effect(effect) for effect in effects)) for step, effects in _sample_steps()]
    return _table(("step", "effects, in order"), rows)


def host_table() -> str:
    """The effects of every request on a host, in order, by stage."""
    rows = []
    for request in _sample_requests():
        for stage in _STAGES:
            found = sequence_for(request, HostImage("vm-vol", "tank", epoch=2, stage=stage), 2)
            if not isinstance(found, Rejection):
                names = " → ".join(map(_host_effect, found))
                rows.append((type(request).__name__, stage, names or "nothing"))
    return _table(("request", "stage", "effects, in order"), rows)


def sections() -> dict[str, str]:
    """The generated sections of the page, by the names of their markers."""
    return {
        "picture": mermaid(),
        "states": states_table(),
        "steps": steps_table(),
    }


def long_tables() -> dict[str, str]:
    """Those that are too long for the page, by the names of their files in tests/golden/image_life."""
    return {"rows": rows_table(), "rejections": rejections_table(), "host_requests": host_table()}


def _rows() -> list[Row]:
    return [entry for entry in TABLE if isinstance(entry, Row)]


def _event(row: Row) -> str:
    if row.step is None:
        return row.event.__name__
    return f"{row.step} {'done' if row.event.__name__ == 'StepDone' else 'failed'}"


def _seconds(seconds: int | None) -> str:
    return "" if seconds is None else f"{seconds} s"


def _effect(effect: Effect) -> str:
    if isinstance(effect, AskHost):
        return f"the host: {type(effect.request).__name__}"
    return type(effect).__name__


def _host_effect(effect: HostEffect) -> str:
    return effect if isinstance(effect, str) else type(effect).__name__


def _sample_steps() -> list[tuple[Step, sequences.Effects]]:
    return [(step, build(_SAMPLE, _Event, 0)) for step, build in sequences.SEQUENCES.items()]


def _sample_requests() -> list[HostRequest]:
    found: list[HostRequest] = []
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
