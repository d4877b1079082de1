"""Commands that set something of hosts' interfaces."""
