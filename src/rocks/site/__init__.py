"""What looks at the whole site: create, check, overview, save and restore; what concerns a host in all rooms.

That is its removal, its power, its certificate, and the keys exchanged with it.
"""
