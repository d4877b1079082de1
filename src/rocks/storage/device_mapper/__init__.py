"""Device-mapper devices: tables, loading, switching below a running guest."""
