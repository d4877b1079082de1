"""`rocks set attr`"""

from rocks.commands._shared.nouns.attributes import AttributeSetter


class Command(AttributeSetter, scope="global"): ...
