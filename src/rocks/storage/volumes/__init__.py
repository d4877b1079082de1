"""Commands on volumes of NASes: add, map, move, grow, list; the settings of their daemons."""
