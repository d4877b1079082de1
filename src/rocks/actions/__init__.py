"""Names that are promised to other rolls: `vm_hooks` is `rocks.machine.outcomes`."""
