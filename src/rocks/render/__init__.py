"""Documents that the system writes, as text: domain XML, interface files, partitions. Pure."""
