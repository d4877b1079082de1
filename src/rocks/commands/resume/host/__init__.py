"""Commands that resume something of hosts."""
