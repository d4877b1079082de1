"""What the tables say of an attribute. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """An attribute that the system itself reads: its usual scope, the form of its values, its default, its meaning.

    The form is the name of one in `inventory.attributes.forms`, which is not loaded with the tables, the numbers that
    are valid, or the texts that are. A secret one is stored where only root reads it. One that is a program names what
    this system runs as root.
    """

    scope: str
    form: str | range | tuple[str, ...]
    default: str
    meaning: str
    is_secret: bool = False
    is_program: bool = False

    @property
    def form_text(self) -> str:
        """The form for people, such as `1 to 64` or `deb or rpm`."""
        if isinstance(self.form, range):
            return f"{self.form[0]} to {self.form[-1]}"
        return self.form if isinstance(self.form, str) else " or ".join(self.form)
