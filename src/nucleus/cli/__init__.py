"""The program `nucleus`: the service, and the words of its administrator."""
