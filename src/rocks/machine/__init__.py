"""Virtual machines: added, started, stopped, changed, moved and removed."""
