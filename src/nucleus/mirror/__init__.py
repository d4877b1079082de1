"""All SQL of Nucleus. Every question about what an owner may see takes the asker's `Scope` first.

So what is not the caller's does not exist: 404 with the same bytes as for nothing at all, where the published
service answered 403 and showed which names there are. 403 is for what a token or a quota does not allow.
"""
