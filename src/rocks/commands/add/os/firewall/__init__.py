"""`rocks add os firewall`"""

from rocks.commands._shared.firewall import LegacyFirewallAddition


class Command(LegacyFirewallAddition, scope="os"): ...
