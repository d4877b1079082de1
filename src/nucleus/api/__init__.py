"""The REST service: requests in, answers and stored operations out. Nothing here starts a program or writes SQL."""
