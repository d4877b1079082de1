"""How a physical host is reached: many at once, by SSH, or as this very machine."""
