"""The kickstart graph: which nodes a host is made of, in which order, and what that is as a script.

`load.py` reads files; the rest is pure. `profile.py` puts a host's nodes together from a graph, whatever is written of
them afterwards; `shell.py` writes them as a script for a machine that runs. Source: specification §6.1 to §6.4.
"""
