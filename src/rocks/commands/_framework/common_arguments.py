"""Arguments and parameters that many commands have, declared once: `<shared names='hosts,dry-run'/>` is two of them."""

from rocks.machine.limits import SHUTDOWN_SECONDS

COMMON = {
    "any-hosts": """<arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
Hosts, by name or any other selector.
</arg>""",
    "any-machines": """<arg optional='1' type='string' name='host' repeat='1' default='all'>
Hosts. Those that are not virtual machines are skipped.
</arg>""",
    "any-physical-hosts": """\
<arg optional='1' type='string' name='host' repeat='1' of='physicalhost'
      default='all managed hosts that are no virtual machines'>
Hosts, by name or any other selector.
</arg>""",
    "attr": """<arg type='string' name='attr'>
The attribute.
</arg>""",
    "disks": """<param type='string' name='disks' default='keep' values='keep,remove'>
keep: disk images stay, and no other machine gets them (rocks list host image). remove: images, their snapshots and
block devices that belong to the machines are removed or erased (attribute vm_image_erase); images on NASes are
destroyed at once, without a grace period. One that another machine owns or uses, or that has clones, stays, and so
does one on a NAS that does not answer: a line has the reason, and the command that removes it.
</param>""",
    "dry-run": """<param type='bool' name='dry-run' default='no'>
yes: change nothing, and print a line for each step on each host, and the rows of the cluster database that would
change. Hosts are asked questions only.
</param>""",
    "force-off": """<param type='bool' name='force' default='no'>
yes: power off machines that run, and wait until images of NASes that hosts have mapped are written back.
</param>""",
    "frontends": """<arg type='string' name='frontend' repeat='1' of='virtualfrontend'>
Virtual frontends.
</arg>""",
    "hosts": """<arg type='string' name='host' repeat='1'>
Hosts, by name or any other selector.
</arg>""",
    "image": """<arg type='string' name='name' of='image'>
Image.
</arg>""",
    "beside-jobs": """<param type='bool' name='force' default='no'>
yes: start machines also on hosts on which Slurm has a batch job, whose processors and memory they share then.
</param>""",
    "machines": """<arg type='string' name='host' repeat='1' of='machine'>
Virtual machines, by name, UUID or any other selector.
</arg>""",
    "nas": """<arg type='string' name='nas'>
The NAS.
</arg>""",
    "one-host": """<arg type='string' name='host'>
The host, by name or any other selector of one host.
</arg>""",
    "one-machine": """<arg type='string' name='host' of='machine'>
One virtual machine, by name or UUID.
</arg>""",
    "snapshot": """<arg type='string' name='snapshot'>
Name of the snapshot.
</arg>""",
    "stop-timeout": f"""<param type='int' name='timeout' default='{SHUTDOWN_SECONDS}' range='0..3600' unit='seconds'>
Time that shutdown allows each guest.
</param>""",
    "the-physical-host": """<arg type='string' name='host' of='physicalhost'>
The physical host.
</arg>""",
    "volume": """<arg type='string' name='volume'>
The volume.
</arg>""",
    "write-back-timeout": """<param type='int' name='timeout' default='3600' range='1..86400' unit='seconds'>
Seconds, at most 86400, to wait for what is written back. A machine that takes longer keeps its disk for now; image
storage goes on, and the same command gives it the fresh disk afterwards.
</param>""",
}
"""Name → element, as it stands in a docstring; several elements are of one argument, in other words."""
