"""`rocks dump appliance route`"""

from rocks.commands._shared.nouns.routes import RouteDump


class Command(RouteDump, scope="appliance"): ...
