"""Virtual machines on their physical host: what the agent does. Python 3.9."""
