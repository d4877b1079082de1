"""How a host becomes what it is: the graph, profiles, installation, rolls."""
