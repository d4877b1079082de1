"""The JSON door on a physical host: read a request, call devices, answer."""
