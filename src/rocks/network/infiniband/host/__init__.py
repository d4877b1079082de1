"""InfiniBand adapters: P_Keys and GUIDs of virtual functions (VFs)."""
