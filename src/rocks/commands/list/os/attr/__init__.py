"""`rocks list os attr`"""

from rocks.commands._shared.nouns.stored_attributes import AttributeListing


class Command(AttributeListing, scope="os"): ...
