"""Nucleus: owners of virtual clusters use them through this service, which knows the site only through `rocks`."""
