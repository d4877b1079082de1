"""`rocks list host sec_attr`"""

from rocks.commands._shared.nouns.secrets import SecretListing


class Command(SecretListing, scope="host"): ...
