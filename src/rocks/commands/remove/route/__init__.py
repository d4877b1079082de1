"""`rocks remove route`"""

from rocks.commands._shared.nouns.routes import RouteRemoval


class Command(RouteRemoval, scope="global"): ...
