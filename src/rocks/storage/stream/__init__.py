"""One transfer, one TLS connection: a ZFS stream in frames, checked frame by frame and as a whole."""
