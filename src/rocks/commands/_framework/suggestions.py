"""Which commands a person probably meant. Loaded only when a name is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.topics import TOPICS, synonym
from rocks.core.near_names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

_ROLLS = ("pragma",)
"""Rolls whose commands begin with their name: such a command is unknown until its roll is enabled."""

_MAX_NAMES = 3
_MAX_TEXTS = 6


def nearest_commands(texts: Sequence[str], commands: Iterable[Sequence[str]], at_least: int = 1) -> list[str]:
    """At most three commands that were probably meant by the first words of a command line.

    Each word may be mistyped, a plural or the word of another system for a verb (delete for remove), and the words may
    stand in any order, as in `vm host strat`. A command that has more words than were typed counts when none has
    exactly these. `at_least` words must have a meaning. A first word that only help knows (reboot) has that help's.
    """
    if texts and texts[0].lower() == "rocks":  # the program's name was typed twice
        texts = texts[1:]
    if tuple(texts[1:3]) == ("cluster", "attr"):
        # a cluster has no attributes, its frontend and computes have
        texts = [texts[0], "host", "attr"]
    known = [tuple(command) for command in commands]
    vocabulary = {word for command in known for word in command}
    if texts and texts[0] not in vocabulary and len(starts := TOPICS.get(texts[0], ())) > 1:
        return list(starts[:_MAX_NAMES])
    if texts and texts[0] in _ROLLS and texts[0] not in vocabulary:
        return [f"enable roll {texts[0]}"]
    typed = [_meant(text, vocabulary) for text in texts[:_MAX_TEXTS]]
    for length in range(len(typed), at_least - 1, -1):
        meant = typed[:length]
        if "" in meant:
            continue
        having = [command for command in known if all(command.count(w) >= meant.count(w) for w in meant)]
        having.sort(key=lambda command: (len(command), list(command[:length]) != meant, command))
        exact = [command for command in having if len(command) == length]
        if having:
            return [" ".join(command) for command in (exact or having)[:_MAX_NAMES]]
    return []


def _meant(text: str, vocabulary: Set[str]) -> str:
    """The word that the text resembles; '' without one."""
    text = synonym(text)
    if text not in vocabulary and text.endswith("s") and text[:-1] in vocabulary:
        return text[:-1]
    # both ways: `zones` resembles `nonsense`, whose letters it has in this order, but not the other way round
    return next((word for word in nearest(text, vocabulary) if nearest(word, [text])), "")
