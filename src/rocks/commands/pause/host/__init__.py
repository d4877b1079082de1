"""Commands that pause something of hosts."""
