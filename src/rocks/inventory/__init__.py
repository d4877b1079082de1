"""What the site has: hosts, appliances, attributes, selectors, and what is in use."""
