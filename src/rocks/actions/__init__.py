"""verb_noun modules: read, decide, do, record."""
