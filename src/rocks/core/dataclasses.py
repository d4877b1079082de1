"""`dataclass` of the standard library, whose methods are compiled when a class is first used.

The standard decorator compiles some six functions for each class while its module is imported: a third of the time in
which `rocks start host vm` loads its modules. A command uses few of the classes that it imports.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(kind: Optional[type] = None, /, **options: Any) -> Any:
        """As `dataclasses.dataclass`, for a class without `__init__` of its own; without `init`, `kw_only`, `slots`."""
        if kind is None:
            return lambda kind: dataclass(kind, **options)
        kind._dataclass_options = options
        kind.__doc__ = kind.__doc__ or kind.__name__  # the standard decorator would read `__init__` for it
        for name in ("__init__", "__dataclass_fields__", "__dataclass_params__"):
            setattr(kind, name, _OnFirstUse(name))
        return kind


class _OnFirstUse:
    """In the place of what a new instance, `dataclasses.fields` or a class that inherits needs: completes the class."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Optional[object], kind: type) -> Any:
        if isinstance(instance, type):  # inspect.signature of Python 3.13 binds `__init__` to the class
            _complete(instance)
            return getattr(instance, self._name).__get__(instance)
        _complete(kind)
        return getattr(kind if instance is None else instance, self._name)


_lock = threading.RLock()


def _complete(kind: type) -> None:
    """Do what the standard decorator does, to the class and to those that it inherits from.

    The standard decorator sets `__init__` first, unless the class has one. Here it comes last, so that another thread
    has no instance before the other methods are there.
    """
    import dataclasses

    with _lock:
        for one in reversed(kind.__mro__):
            options = one.__dict__.get("_dataclass_options")
            if options is not None:
                dataclasses.dataclass(**options)(one)
                one.__init__ = _initialiser(one, options)  # type: ignore[misc]
                del one._dataclass_options  # type: ignore[attr-defined]


def _initialiser(kind: Any, options: Dict[str, Any]) -> Callable[..., None]:
    """`__init__` for the class, taken from one with the same fields."""
    from dataclasses import field, fields, make_dataclass

    same = [
        (one.name, one.type, field(default=one.default, default_factory=one.default_factory, init=one.init))
        for one in fields(kind)
    ]
    after = {"__post_init__": kind.__post_init__} if hasattr(kind, "__post_init__") else {}
    frozen = options.get("frozen", False)
    made: Any = make_dataclass(kind.__name__, same, namespace=after, repr=False, eq=False, frozen=frozen)
    initialiser: Callable[..., None] = made.__init__
    return initialiser
