"""What sites with the roll pragma have in the lab: the roll, repositories with the small Linux guest, ENT's keys.

The guest plays an image's agent: a line that the test types on its console gives its adapters the addresses that
vc-out.xml on its second disk has, and answers at port 22.
"""

import base64
import subprocess  # noqa: TID251 - standard output as bytes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.guest import disk_image, image, kernel
from lab.machines.checkout import CHECKOUT
from lab.machines.frontend import IMAGE_FOLDER
from lab.machines.machine import LabMachine
from lab.machines.roster import TRUNK_BRIDGE
from rocks.core.process import run_checked
from rocks.install.rolls.iso import create_roll

SUBJECTS = ("roll/pragma", "lab/guest")

ROLL = CHECKOUT / "roll" / "pragma"
KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
PUBLIC_DEVICE = "brpublic"
MEMORY_MB = 192
ENT = "10.102.0.0"
_PACKAGES = ("nftables", "libnftables1", "libjansson4")
"""nft, and its libraries that the lab's machines lack."""

_AGENT = """\
tr '\\0' '\\n' </dev/sda >/seed
for d in eth0 eth1 eth2; do
  m=$(cat /sys/class/net/$d/address) || continue
  e=$(grep -o "<[a-z]* [^>]*mac=\\"$m\\"[^>]*>" /seed | head -n 1)
  i=$(echo "$e" | sed -n 's/.* ip="\\([^"]*\\)".*/\\1/p') n=$(echo "$e" | sed -n 's/.* netmask="\\([^"]*\\)".*/\\1/p')
  [ -z "$i" ] || ifconfig $d $i netmask $n up
  echo "agent: $d ${i:-none}" >/dev/console
done
nc -ll -p 22 -e /bin/echo SSH-2.0-guest &
"""

_DOMAIN = """<domain type='kvm'><name>template</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu><devices>
<disk type='{kind}' device='disk'><driver name='qemu' type='raw'/><source {source}/>
<target dev='vda' bus='virtio'/></disk>
{interfaces}</devices></domain>"""
_INTERFACE = "<interface type='bridge'><source bridge='template'/><model type='virtio'/></interface>\n"

Rocks = Callable[..., str]


def add_roll(done: Rocks, folder: Path) -> None:
    """Add and enable the roll, from its ISO, which is made in the folder."""
    done("set", "attr", "Kickstart_DistroDir", "/var/lib/rocks/export")
    folder.mkdir()
    done("add", "roll", str(create_roll(ROLL / "roll-pragma.xml", folder)))
    done("enable", "roll", "pragma")


def make_guest(path: Path, name: str) -> Path:
    """A disk with the Linux guest, which also sees the disk for cloud-init: that is on virtio-scsi."""
    image_kernel = kernel.find_kernel(KERNEL)
    modules = kernel.read_modules(KERNEL, image_kernel, (*kernel.MODULES, "virtio_scsi", "sd_mod"))
    initramfs, settings = path.with_suffix(".initramfs"), path.with_suffix(".settings")
    initramfs.write_bytes(image.initramfs_of(modules))
    settings.write_text(image.configuration(name), encoding="ascii")
    files = {
        image.KERNEL_NAME: image_kernel,
        image.INITRAMFS_NAME: initramfs,
        disk_image.CONFIGURATION_NAME: settings,
    }
    disk_image.make_image(path, files)
    return path


def write_repository(folder: Path, name: str, kind: str, frontend: str, compute: str = "") -> None:
    """A repository with one cluster; `frontend` and `compute` are the attributes of the sources of their disks."""
    nodes = [("frontend", frontend, 2), *[("compute", compute, 1)] * bool(compute)]
    texts = [
        f"<{node}>{_DOMAIN.format(memory=MEMORY_MB, kind=kind, source=source, interfaces=count * _INTERFACE)}</{node}>"
        for node, source, count in nodes
    ]
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "vc-in.xml").write_text(
        "<vc version='0.1'><virtualization engine='kvm' type='hvm' arch='x86_64'/>"
        + "".join(texts)
        + "</vc>\n"
    )
    (folder / "vcdb.txt").write_text(f"{name},{name}/vc-in.xml\n")


def make_room(machine: LabMachine) -> None:
    """A file system for the disks of a cluster, which have 36 GB each; of that, little is written."""
    place = f"{machine.description.pool}/images"
    machine.shell(
        f"zfs create -s -V 90G {place}\nudevadm settle\n"
        f"mkfs.ext4 -q -J size=32 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard /dev/zvol/{place}\n"
        f"mkdir -p {IMAGE_FOLDER}\nmount /dev/zvol/{place} {IMAGE_FOLDER}\n",
        120,
    )


def public_devices(machine: LabMachine) -> None:
    """The host's bridge on the public network, whose wire is that of the trunk, without VLANs."""
    machine.shell(
        f"ip link add {PUBLIC_DEVICE} type bridge stp_state 0 forward_delay 0\n"
        f"ip link set trunk0 up master {PUBLIC_DEVICE}\nip link set {PUBLIC_DEVICE} up\n"
    )


@contextmanager
def public_address() -> Iterator[None]:
    """The carrying machine is on the public network, inside the lab's namespace; its kernel may lack VLANs."""
    own = ("203.0.113.1/24", "dev", TRUNK_BRIDGE)
    run_checked(["ip", "address", "replace", *own], deadline_seconds=30)
    try:
        yield
    finally:
        run_checked(["ip", "address", "del", *own], deadline_seconds=30)


def copy_nft(machine: LabMachine) -> None:
    """Debian's packages of nft, as this machine has them installed: their files, and their records of dpkg."""
    files = run_checked(["dpkg", "--listfiles", *_PACKAGES], deadline_seconds=30).text.split()
    chosen = sorted({one for one in files if Path(one).is_file() or Path(one).is_symlink()})
    packed = subprocess.run(
        [
            "tar",
            "-c",
            "--no-recursion",
            "-C",
            "/",
            "--ignore-failed-read",
            *(one.lstrip("/") for one in chosen),
        ],
        check=True,
        capture_output=True,
    ).stdout
    machine.write_file("/root/nft.tar", packed)
    records = run_checked(["dpkg-query", "--status", *_PACKAGES], deadline_seconds=30).text
    machine.write_file("/root/nft.status", f"\n{records}\n".encode())
    machine.shell(
        "tar -x -C / --keep-directory-symlink -f /root/nft.tar\nldconfig\n"
        "cat /root/nft.status >>/var/lib/dpkg/status\nnft list ruleset >/dev/null\ndpkg-query -W nftables\n",
        60,
    )


def wireguard_keys(folder: Path, name: str) -> tuple[Path, str]:
    """A new key of a host: the file with the private one as `wg genkey` writes it, and the public one."""
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", pem], check=True)
    raw, public = (
        subprocess.run(
            ["openssl", "pkey", "-in", pem, "-outform", "DER", *more], check=True, capture_output=True
        ).stdout[-32:]
        for more in ((), ("-pubout",))
    )
    private.write_text(f"{base64.b64encode(raw).decode()}\n")
    private.chmod(0o600)
    return private, base64.b64encode(public).decode()


def type_line(machine: LabMachine, guest: str, line: str) -> None:
    """Type a line on a guest's serial console."""
    machine.shell(f"cat >\"$(virsh ttyconsole {guest})\" <<'END'\n{line}\nEND\n", 60)


def run_agent(machine: LabMachine, guest: str) -> None:
    """Have the guest take its addresses, as soon as it is up."""
    console(machine, guest, "guest ready", 300)
    # QEMU reads a pty while somebody has it open, and looks for that once a second
    hold = f'exec sleep infinity >"$(virsh ttyconsole {guest})"'
    machine.run(["systemd-run", "--quiet", "--collect", "--", "sh", "-c", hold])
    packed = base64.b64encode(_AGENT.encode()).decode()
    pieces = [packed[at : at + 200] for at in range(0, len(packed), 200)]
    type_line(machine, guest, ": >/packed")
    for number, piece in enumerate(pieces):
        type_line(machine, guest, f"echo {piece} >>/packed; echo piece-$((100+{number}))")
        console(machine, guest, f"piece-{100 + number}", 120)
    type_line(machine, guest, "base64 -d /packed >/agent; sh /agent")


def console(machine: LabMachine, guest: str, expected: str, seconds: float = 240) -> str:
    """Wait until the guest's console has printed the text; returns all of it."""
    return machine.wait_for(["cat", f"/var/log/libvirt/qemu/{guest}.console.log"], expected, seconds)
