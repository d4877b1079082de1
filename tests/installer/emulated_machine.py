"""A process of QEMU without KVM, with its console and its firmware's variables in files."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

FIRMWARE = Path("/usr/share/OVMF")


class EmulatedMachine:
    """One process at a time; `_file` says where its files are."""

    _process: int | None = None

    @property
    def console(self) -> str:
        """What the console has shown in the run that is going on, or in the last one."""
        path = self._file("console")
        return path.read_bytes().decode(errors="replace") if path.exists() else ""

    def cut_power(self) -> None:
        """Switch it off at once."""
        if self._process is not None:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            self._process = None

    def is_running(self) -> bool:
        """Whether it is on."""
        if self._process is not None and os.waitpid(self._process, os.WNOHANG) != (0, 0):
            self._process = None
        return self._process is not None

    def firmware(self) -> Sequence[str]:
        """The arguments for UEFI."""
        variables = self._file("variables")
        if not variables.exists():
            shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", variables)
        return (
            *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"),
            *("-drive", f"if=pflash,format=raw,file={variables}"),
        )

    def _file(self, kind: str) -> Path:
        raise NotImplementedError
