"""Serial consoles and screens of machines."""
