"""`rocks dump appliance attr`"""

from rocks.commands._shared.nouns.stored_attributes import AttributeDump


class Command(AttributeDump, scope="appliance"): ...
