"""A small HTTPS server with bounds, for hosts and for owners of clusters."""
