"""`rocks dump sec_attr`"""

from rocks.commands._shared.nouns.secrets import SecretDump


class Command(SecretDump, scope="global"): ...
