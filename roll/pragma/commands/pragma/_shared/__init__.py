"""What the commands of the roll pragma share: the two documents of PRAGMA, the repository, and what a boot does.

Nothing of the system imports it. It imports `rocks.commands` and `rocks.core`, and changes a site by commands alone.
"""
