"""The deeds behind the model's effects, on the NAS and on a host. They know neither messages nor records."""
