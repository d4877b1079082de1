"""The site from outside: `rocks` is started and its output read."""
