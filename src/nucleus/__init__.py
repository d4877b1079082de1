"""The owner's service: a poller and a REST interface over `rocks`, which it knows only from outside."""
