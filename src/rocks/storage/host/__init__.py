"""The daemon of a host: executes its NASes' requests, one at a time for each image; rebuilds devices at a reboot."""
