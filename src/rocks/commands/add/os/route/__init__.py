"""`rocks add os route`"""

from rocks.commands._shared.nouns.routes import RouteAddition


class Command(RouteAddition, scope="os"): ...
