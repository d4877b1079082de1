"""The libvirt domain of a machine as XML. Pure, but for `documents`."""
