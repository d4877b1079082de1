"""`rocks add os attr`"""

from rocks.commands._shared.nouns.attributes import AttributeAddition


class Command(AttributeAddition, scope="os"): ...
