"""`rocks remove sec_attr`"""

from rocks.commands._shared.nouns.secrets import SecretRemoval


class Command(SecretRemoval, scope="global"): ...
