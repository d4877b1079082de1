"""`rocks set sec_attr`"""

from rocks.commands._shared.nouns.secrets import SecretSetter


class Command(SecretSetter, scope="global"): ...
