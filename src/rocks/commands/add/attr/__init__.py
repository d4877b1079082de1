"""`rocks add attr`"""

from rocks.commands._shared.nouns.attributes import AttributeAddition


class Command(AttributeAddition, scope="global"): ...
