"""The daemon of a host: does what its NASes ask, for an image one thing after the other, and rebuilds at a reboot."""
