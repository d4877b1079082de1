"""`rocks set host sec_attr`"""

from rocks.commands._shared.nouns.secrets import SecretSetter


class Command(SecretSetter, scope="host"): ...
