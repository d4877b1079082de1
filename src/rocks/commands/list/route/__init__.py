"""`rocks list route`"""

from rocks.commands._shared.nouns.routes import RouteListing


class Command(RouteListing, scope="global"): ...
