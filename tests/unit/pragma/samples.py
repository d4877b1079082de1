"""Descriptions of cluster images: what was published, with the parts that the talks leave out filled in."""

DOMAIN = """<domain type='kvm'>
  <name>{name}</name>
  <memory>{memory}</memory>
  <vcpu>1</vcpu>
  <devices>
{disk}{interfaces}
  </devices>
</domain>"""
INTERFACE = """    <interface type='bridge'>
      <source bridge='template'/><mac address='00:00:00:00:00:00'/><model type='virtio'/>
    </interface>
"""
VIRTUALIZATION = "<virtualization engine='kvm' type='hvm' arch='x86_64'/>"


def domain(disk: str, interfaces: int = 1, name: str = "template", memory: str = "2097152") -> str:
    return DOMAIN.format(disk=disk, interfaces=interfaces * INTERFACE, name=name, memory=memory)


def file_disk(file: str, target: str = "<target dev='vda' bus='virtio'/>") -> str:
    return f"    <disk type='file' device='disk'><source file='{file}'/>{target}</disk>\n"


def volume_disk(volume: str, pool: str, host: str = "nas-0-0") -> str:
    source = f"<source volume='{volume}' pool='{pool}' host='{host}'/>"
    return f"    <disk type='volume' device='disk'>{source}<target dev='vda' bus='virtio'/></disk>\n"


def document(frontend: str, compute: str = "", more: str = "", attributes: str = "version='0.1'") -> str:
    computes = f"<compute>{compute}</compute>" if compute else ""
    return f"<vc {attributes}>{VIRTUALIZATION}<frontend>{frontend}</frontend>{computes}{more}</vc>"


_IDE = "<target dev='hda' bus='ide'/>"
_WAIT = "<boot_dependency parent='frontend'><wait type='clock' value='300'/></boot_dependency>"

PHASE_4 = document(
    domain(
        file_disk("dock6-frontend.img", _IDE).replace("<source", "<driver name='qemu' type='raw'/><source"), 2
    ),
    _WAIT + domain(file_disk("dock6-compute.img", _IDE)),
    """<driver>rocks_6_client</driver>
    <networks><network name='local'><ipaddress>10.1.0.0</ipaddress><netmask>255.255.0.0</netmask></network>
      <frontend><public>eth1</public></frontend></networks>
    <files>
      <file type='gzip' filename='dock6-frontend.img'><part>dock6-frontend.img.gz</part></file>
      <file type='gzip' filename='dock6-compute.img'><part>dock6-compute.img.gz</part></file>
    </files>""",
)
"""The first generation: hda on ide, packed files, a wait of 300 s, computes with a disk of their own."""

TALK_FILES = document(
    domain(file_disk("hku_biolinux_frontend.img"), 2),
    domain(file_disk("hku_biolinux_compute.img", "")),
    attributes="type='Local Beowulf'",
)
"""The talk of 2016, step 3; the disk of computes has no target there."""

TALK_VOLUMES = document(
    domain(volume_disk("state/hku_biolinux_fe", "state"), 2),
    domain(volume_disk("state/hku_biolinux_compute", "pragma")),
    attributes="type='Local Beowulf'",
)
"""The talk of 2016, step 6, as printed: the pool of computes disagrees with their volume."""
