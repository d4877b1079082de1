"""Words that are wrong are refused in one line, and a broker or a certificate that is missing is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rocks.core.values import BYTES_PER_GIB
from rocks.storage.broker import broker as message_broker
from rocks.storage.broker.broker import BrokerSettings
from rocks.storage.client import asking, importing
from tests.generated import examples
from tests.servers import free_port
from tests.system.commands.conftest import Site
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import ADD, HOST, OTHER, START, Storage

MAP = ("host", "storagemap")
NO_VOLUME = "ZVol none-vol not found in database"
NOT_VALID = 'volume "-x" is not valid'
REFUSED = [
    # add
    (
        ("add", *MAP),
        "must supply nas, zpool, volume, remotehost, size; nas, zpool, volume, remotehost, size missing",
    ),
    (("add", *MAP, NAS, "tank", "a-vol", HOST), f'nas missing, besides zpool "{NAS}" and volume "tank" and '),
    ((*ADD, "a-vol", HOST, "1", "more", "img_sync=no"), "but 6 arguments are given"),
    (("add", *MAP, "nobody", "tank", "a-vol", HOST, "1"), 'cannot resolve host "nobody"'),
    ((*ADD, "a-vol", "nobody", "1"), 'cannot resolve host "nobody"'),
    ((*ADD, "a-vol", "vm-container", "1"), "must supply only one host, not 2"),
    (("add", *MAP, NAS, "-tank", "a-vol", HOST, "1"), 'zpool "-tank" is not valid'),
    ((*ADD, "-x", HOST, "1"), NOT_VALID),
    ((*ADD, "a/b", HOST, "1"), 'volume "a/b" is not valid'),
    ((*ADD, "a@b", HOST, "1"), 'volume "a@b" is not valid'),
    ((*ADD, "a-vol\n", HOST, "1"), "is not valid"),
    ((*ADD, "a" * 202, HOST, "1"), "is not valid"),
    *(
        ((*ADD, "a-vol", HOST, size), f'size "{size}" must be an integer from 1')
        for size in ("0", "-1", "x", "1.5", "１")
    ),
    ((*ADD, "a-vol", HOST, "999999999999"), "must be an integer from 1"),
    ((*ADD, "a-vol", HOST, "1", "img_sync=perhaps"), '"img_sync" must be yes or no'),
    (
        (*ADD, "a-vol", HOST, "1", "img_sync=yes"),
        "no pool there is given: give remotepool=POOL, or img_sync=no",
    ),
    ((*ADD, "a-vol", HOST, "1", "img_sync=yes", "remotepool=/"), "is not valid"),
    ((*ADD, "a-vol", HOST, "1", "remotepol=x"), 'knows no parameter "remotepol"'),
    (
        ("add", *MAP, HOST, "tank", "a-vol", OTHER, "1", "img_sync=no"),
        f"there is no queue img-storage.nas.{HOST}",
    ),
    # remove, sync, cancel, clean
    *(
        case
        for verb in ("remove", "sync", "cancel", "clean")
        for case in (
            ((verb, *MAP), "must supply nas, volume; nas, volume missing"),
            ((verb, *MAP, NAS), "nas missing"),
            ((verb, *MAP, NAS, "a", "b"), "arguments are given; quote a value"),
            ((verb, *MAP, NAS, "-x"), NOT_VALID),
            ((verb, *MAP, NAS, "none-vol"), NO_VOLUME),
        )
    ),
    *(((verb, *MAP, NAS, "none-vol", "timeout=0"), "timeout") for verb in ("remove", "sync")),
    (("clean", *MAP, NAS, "none-vol", "nodetype=host"), 'nodetype "host" must be vmc or nas'),
    (("clean", *MAP, NAS, "none-vol", "force=yes"), "must be given together"),
    (("clean", *MAP, NAS, "none-vol", "force=yes", "reason=a\nb"), "not a printable character"),
    # images
    (("remove", "host", "storageimg", NAS, "tank"), "nas missing"),
    (("remove", "host", "storageimg", NAS, "tank", "none-vol"), NO_VOLUME),
    (("remove", "host", "storageimg", NAS, "tank", "-x"), NOT_VALID),
    (("remove", "host", "storageimg", NAS, "tank", "none-vol", "force=x"), '"force" must be yes or no'),
    (("restore", "host", "storageimg", NAS, "none-vol"), NO_VOLUME),
    (("restore", "host", "storageimg", NAS, "none-vol", "snap=x"), NO_VOLUME),
    # attributes
    (("set", "host", "storageattr", NAS, "frequency"), "nas missing"),
    (("set", "host", "storageattr", NAS, "a", "b", "c"), "arguments are given; quote a value"),
    (
        ("set", "host", "storageattr", NAS, "frequency", "often"),
        "frequency is 'often'; it must be seconds, 1 to",
    ),
    (("set", "host", "storageattr", NAS, "uploadspeed", "fast"), "it must be bytes per second"),
    (("set", "host", "storageattr", NAS, "a b", "c"), 'attr "a b" is not valid'),
    (("set", "host", "storageattr", NAS, "a", "b\nc"), "not a printable character"),
    (("remove", "host", "storageattr", NAS, "nothing"), 'has no attribute "nothing"'),
    (("remove", "host", "storageattr", NAS), "nas missing"),
    (("set", "host", "zvolattr", NAS, "none-vol", "frequency"), "nas missing"),
    (("set", "host", "zvolattr", NAS, "none-vol", "frequency", "60"), NO_VOLUME),
    (
        ("set", "host", "zvolattr", NAS, "none-vol", "speed", "1"),
        '"speed" is not an attribute of images; these are',
    ),
    (("set", "host", "zvolattr", NAS, "-x", "frequency", "1"), NOT_VALID),
    (("list", "host", "zvolattr", NAS), "nas missing"),
    (("list", "host", "zvolattr", NAS, "none-vol"), NO_VOLUME),
    # lists
    *(
        (("list", "host", word), "must supply at least one host")
        for word in ("storagedev", "storageattr", "storageop")
    ),
    *(
        (("list", "host", word, "nobody"), 'cannot resolve host "nobody"')
        for word in ("storagemap", "storagedev", "storageattr", "storageop")
    ),
    (("list", "host", "storagesnap", NAS), "nas missing"),
    (("list", "host", "storagesnap", NAS, "none-vol"), NO_VOLUME),
    (
        ("list", "host", "storagemap", HOST),
        f"there is no queue img-storage.nas.{HOST}; image storage has never run",
    ),
    (("list", "host", "storagedev", NAS), f"there is no queue img-storage.host.{NAS}"),
    (("list", "host", "storagemap", NAS, "output-col=size"), 'there is no column "size"'),
]


def test_wrong_arguments(storage: Storage) -> None:
    """In one test, for the sake of the daemons, which are asked nothing else in between."""
    assert storage.done("list", "host", "storagemap", NAS) == ""
    for arguments, message in REFUSED:
        assert message in storage.refused(*arguments), arguments
    assert storage.done("list", "host", "storagemap", NAS) == ""


def test_one_of_several_that_does_not_answer(storage: Storage) -> None:
    ended = storage.rocks("list", "host", "storageattr", NAS, HOST)
    assert ended.status == 3, "done for one of them"
    assert f"Error: {HOST}: Message could not be delivered" in ended.err


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_text_in_any_place(storage: Storage, text: str) -> None:
    """Refused in one line or done; never a fault, and never a volume."""
    for arguments in (
        ("add", *MAP, f"nas={NAS}", "zpool=tank", f"volume={text}", f"remotehost={HOST}", "size=x"),
        ("remove", *MAP, f"nas={NAS}", f"volume={text}"),
        ("clean", *MAP, f"nas={NAS}", "volume=none-vol", "force=yes", f"reason={text}"),
        ("set", "host", "storageattr", f"nas={NAS}", "attr=any", f"value={text}"),
        ("list", "host", "storagesnap", f"nas={NAS}", f"volume={text}"),
        ("restore", "host", "storageimg", f"nas={NAS}", "volume=none-vol", f"snap={text}"),
    ):
        ended = storage.rocks(*arguments)
        assert "has a fault" not in ended.err, (arguments, ended)
        assert ended.status in (0, 1), (arguments, ended)


def test_without_a_certificate(vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "authority"))
    monkeypatch.setattr(
        message_broker, "read_broker_settings", lambda: BrokerSettings("/nowhere/rabbitmqctl")
    )
    monkeypatch.setenv("ROCKS_PKI_FOLDER", str(tmp_path))
    message = vm_site.refused("list", "host", "storagemap", HOST)
    assert message.startswith(f"head has no certificate in {tmp_path}/node.pem")
    commands = "rocks add host certificate head, rocks sync host certificate head and rocks sync broker"
    assert message.endswith(f": run {commands}")
    vm_site.done("add host certificate head")
    message = vm_site.refused("list", "host", "storagemap", HOST)
    assert message.endswith(": run rocks sync host certificate head"), "the command that is missing"


def test_a_user_who_may_not_read_the_certificate(
    vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node.pem").touch()
    monkeypatch.setenv("ROCKS_PKI_FOLDER", str(tmp_path))
    monkeypatch.setattr(asking.os, "access", lambda *_: False)
    assert "only root may send requests about images" in vm_site.refused("list", "host", "storagemap", HOST)


def test_a_broker_that_is_not_there(vm_site: Site, certified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKS_BROKER_PORT", str(free_port()))
    assert "cannot reach the message broker at 127.0.0.1" in vm_site.refused(
        "list", "host", "storagemap", HOST
    )
    monkeypatch.setenv("ROCKS_BROKER_PORT", "x")
    assert "a port is a number from 1 to 65535" in vm_site.refused("list", "host", "storagemap", HOST)


def test_a_broker_of_another_name(vm_site: Site, certified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKS_BROKER_NAME", "elsewhere")
    assert "has an invalid certificate" in vm_site.refused("list", "host", "storagemap", HOST)


def test_the_attribute_names_the_brokers_host(
    vm_site: Site, certified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROCKS_BROKER_ADDRESS")
    vm_site.done("set", "attr", "RABBITMQ_Server", "127.0.0.1")
    assert "there is no queue" in vm_site.refused("list", "host", "storagemap", OTHER)


def test_an_image_that_its_pool_can_never_hold_is_refused_before_it_is_read(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rule of growing: a sparse volume may exceed what is free, but not so far."""
    monkeypatch.setattr(importing, "send_file", lambda *arguments: pytest.fail("the file was read"))
    huge = tmp_path / "huge.raw"
    with huge.open("wb") as file:
        file.truncate(2000 * BYTES_PER_GIB)
    add = ("add", "host", "storageimg", NAS, "tank", "huge")
    for source in (f"file={huge}", "size=2000"):
        message = storage.refused(*add, source)
        assert message.startswith("the volume tank/huge of 2000.0 GiB is not made: the NAS's pool has ")
        assert " free and " in message and " are needed: " in message
    assert storage.images.nas.pools.read_volume("tank/huge") is None
    storage.done(*add, "size=200")


def test_the_start_of_a_machine_whose_pool_is_missing_names_all_that_it_takes(storage: Storage) -> None:
    vm = storage.add_vm("poolless")
    storage.done("set", "host", "vm", "nas", vm, f"nas={NAS}", "zpool=nope")
    ended = storage.rocks(*START, vm)
    assert ended.status == 1
    message = ended.err.strip().removeprefix("Error: ")
    assert message.startswith(
        f"poolless is not started on {HOST}: its disk is to be in the pool nope of {NAS}, which is not there: "
    )
    assert message.endswith(f"rocks set host vm nas poolless nas={NAS} zpool=POOL names another")
