"""Commands that set what belongs to an appliance."""
