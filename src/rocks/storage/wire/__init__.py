"""What clients and daemons of image storage send each other. Pure."""
