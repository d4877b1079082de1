"""The kickstart graph: the nodes of a host, their order, and the script made from them.

The package is pure: `rocks.install.graph_files` reads the files. `profile.py` combines the nodes of a host from a
graph, independently of the output format; `shell.py` renders them as a script for a running machine.
"""
