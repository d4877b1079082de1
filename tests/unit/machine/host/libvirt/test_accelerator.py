"""The probe guest, and how long its result is believed."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.machine.host.libvirt import accelerator
from rocks.machine.host.libvirt.accelerator import EXIT_STATUS, boot_sector


def test_the_probe_guest_is_a_boot_sector() -> None:
    """512 bytes with the mark that makes a BIOS start them, and descriptors where the code expects them."""
    sector = boot_sector()
    assert len(sector) == 512
    assert sector[-2:] == b"\x55\xaa"
    assert sector[0x7C + 8 : 0x7C + 16] == bytes.fromhex("ffff0000009acf00")
    assert sector[0x94:0x9A] == bytes.fromhex("17007c7c0000")
    assert EXIT_STATUS == 85


def test_a_result_is_believed_for_this_host_and_kernel_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known without booting; another kernel, processor or QEMU makes it unknown again, a spoilt file too."""
    device = Path("/dev/null")
    monkeypatch.setattr(accelerator, "_DEVICE", device)
    assert accelerator.known_accelerator(tmp_path).accelerator == "unknown"
    memory = {"key": accelerator._key(), "accelerator": "kvm", "reason": "it boots"}
    file = tmp_path / "kvm-probe.json"
    file.write_text(json.dumps(memory))
    fact = accelerator.probe_accelerator(tmp_path)
    assert (fact.accelerator, fact.reason, fact.cached) == ("kvm", "it boots", True)
    file.write_text(json.dumps({**memory, "key": {**accelerator._key(), "kernel": "another"}}))
    assert accelerator.known_accelerator(tmp_path).accelerator == "unknown"
    file.write_text(json.dumps({**memory, "accelerator": "magic"}))
    assert accelerator.known_accelerator(tmp_path).accelerator == "unknown"
    file.write_text("[")
    assert accelerator.known_accelerator(tmp_path).accelerator == "unknown"
    for name in ("_processor", "_identity"):
        file.write_text(json.dumps(memory))
        with monkeypatch.context() as patch:
            patch.setattr(accelerator, name, lambda *_: "another")
            assert accelerator.known_accelerator(tmp_path).accelerator == "unknown", name


def test_without_the_device_nothing_is_booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a missing one nor one that is covered by a file."""
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "kvm")
    assert accelerator.probe_accelerator(tmp_path, again=True).reason.startswith("there is no ")
    (tmp_path / "kvm").touch()
    assert accelerator.known_accelerator(tmp_path).reason.endswith("is hidden")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kvm"]


def test_a_result_is_found_again_on_demand_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe guest boots when nothing is known, or when it is asked for; its result is stored."""
    boots: list[str] = []

    def boot(emulator: str) -> accelerator._Verdict:
        boots.append(emulator)
        return accelerator._Verdict("kvm", f"boot {len(boots)}")

    monkeypatch.setattr(accelerator, "_DEVICE", Path("/dev/null"))
    monkeypatch.setattr(accelerator, "EMULATORS", ("/bin/true",))
    monkeypatch.setattr(accelerator, "_boot_probe_guest", boot)
    found = [accelerator.probe_accelerator(tmp_path, again) for again in (False, False, True, False)]
    assert [(fact.reason, fact.cached) for fact in found] == [
        ("boot 1", False),
        ("boot 1", True),
        ("boot 2", False),
        ("boot 2", True),
    ]
    assert boots == ["/bin/true"] * 2
    assert accelerator.known_accelerator(tmp_path).reason == "boot 2"

    result = tmp_path / "kvm-probe.json"
    stored = result.read_text()
    result.unlink()

    @contextlib.contextmanager
    def locked(*_: object, **more: object) -> Iterator[None]:
        result.write_text(stored)  # by the command that had the lock
        yield

    monkeypatch.setattr(accelerator, "locked", locked)
    assert accelerator.probe_accelerator(tmp_path).reason == "boot 2" and len(boots) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("for i in 1 2 3 4 5; do echo $i; sleep 0.5; done; echo Unable to mount root fs", ""),
        ("echo unpacking; sleep 30", "it printed nothing for 2 s and was killed"),
        ("sleep 30", "it printed nothing for 3 s and was killed"),
        ("echo no; exit 3", "QEMU ended with exit status 3: the guest ended early"),
    ],
)
def test_a_kernel_that_goes_on_printing_has_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """On a host that is busy, or is emulated itself, a kernel needs longer than one that hangs is waited for."""
    monkeypatch.setattr(accelerator, "_SILENT_SECONDS", 2.0)
    monkeypatch.setattr(accelerator, "_FIRST_SECONDS", 3.0)
    emulator = tmp_path / "qemu"
    emulator.write_text(f"#!/bin/sh\n{program}\n")
    emulator.chmod(0o755)
    assert accelerator.boot_kernel(str(emulator), "vmlinuz") == reason
