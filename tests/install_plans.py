"""A host and a source of an installation, for the tests of plans."""

from rocks.install.installation.plan import Source
from rocks.inventory.records import Host, Interface

SOURCE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHjJGMOBmXyWRWMAgPWSyqpMFXRbKz8VvPsUG8PjL8Kn root@head"

SOURCE = Source(
    "0123456789abcdef",
    "https://10.9.0.1/install/root.tar.zst",
    "a" * 64,
    "https://10.9.0.1/install/profile/0123456789abcdef",
    "https://10.9.0.1/install/progress",
    (SOURCE_KEY,),
)

HOST = Host(
    "compute-0-0",
    "Compute",
    "compute",
    1,
    0,
    0,
    interfaces=(
        Interface(
            "compute-0-0",
            "eth0",
            "52:54:00:00:00:09",
            "10.9.0.9",
            "compute-0-0",
            "private",
            "255.255.255.0",
            1500,
        ),
        Interface(
            "compute-0-0",
            "eth1",
            "52:54:00:00:00:0A",
            "10.10.0.9",
            "compute-0-0",
            "storage",
            "255.255.0.0",
            9000,
        ),
    ),
    attributes={
        "install_disk": "serial=S3Z-1,serial=S3Z-2",
        "install_partitions": "root:20:ext4:/ swap:2:swap pool:rest:none",
        "install_kernel_arguments": "console=tty0 console=ttyS0,115200",
        "Kickstart_PrivateGateway": "10.9.0.1",
        "Kickstart_PrivateDNSServers": "10.9.0.1,10.9.0.2",
    },
)
