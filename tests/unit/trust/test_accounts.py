"""Changes of a host's accounts that are interrupted anywhere are completed by the next command."""

from collections.abc import Sequence

import pytest

from rocks.core.errors import HostError
from rocks.fleet.host_files import FileChange
from rocks.trust.accounts import Accounts, account_changes, chosen_accounts

HOST = {
    "/etc/passwd": b"root:x:0:0::/root:/bin/sh\nlocal:x:500:500:\xff:/:/bin/sh\n",
    "/etc/shadow": b"root:*:1::::::\n",
    "/etc/group": b"root:x:0:\n",
    "/etc/gshadow": b"root:*::\n",
}
ALICE = chosen_accounts("alice:x:1000:1000::/:/bin/sh\n", "alice:$y$:1::::::\n", "alice:x:1000:\n", "")
BOTH = chosen_accounts(
    "alice:x:1000:1000::/:/bin/sh\nbob:x:1001:1000::/:/bin/sh\n",
    "bob:$y$:1::::::\n",
    "alice:x:1000:bob\n",
    "",
)
NOBODY = Accounts({}, {}, {})


def apply(files: dict[str, bytes], changes: Sequence[FileChange]) -> dict[str, bytes]:
    """The files after these changes."""
    after = dict(files)
    for change in changes:
        assert change.content is not None
        after[change.path] = change.content
    return after


def whole(files: dict[str, bytes], accounts: Accounts) -> dict[str, bytes]:
    return apply(files, account_changes(files, accounts))


def of_system(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: files[path] for path in HOST}


@pytest.mark.parametrize("before", [NOBODY, ALICE])
@pytest.mark.parametrize("meant", [ALICE, BOTH, NOBODY])
@pytest.mark.parametrize("next_one", [NOBODY, ALICE, BOTH])
def test_a_change_that_is_killed_anywhere(before: Accounts, meant: Accounts, next_one: Accounts) -> None:
    start = whole(HOST, before)
    changes = account_changes(start, meant)
    expected = whole(HOST, next_one)
    for done in range(len(changes) + 1):
        killed = apply(start, changes[:done])
        repaired = whole(killed, next_one)
        assert {path: sorted(text.splitlines()) for path, text in of_system(repaired).items()} == {
            path: sorted(text.splitlines()) for path, text in of_system(expected).items()
        }
        assert account_changes(repaired, next_one) == []


def test_a_host_without_shadow_passwords_is_named() -> None:
    with pytest.raises(HostError, match="it has no /etc/shadow"):
        account_changes({path: text for path, text in HOST.items() if path != "/etc/shadow"}, ALICE)
