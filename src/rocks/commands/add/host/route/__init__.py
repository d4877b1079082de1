"""`rocks add host route`"""

from rocks.commands._shared.nouns.routes import RouteAddition


class Command(RouteAddition, scope="host"): ...
