"""`rocks remove os attr`"""

from rocks.commands._shared.nouns.attributes import AttributeRemoval


class Command(AttributeRemoval, scope="os"): ...
