"""All SQL of Nucleus. Every question about what an owner may see takes the asker's `Scope` first."""
