"""What is read from the site, and when."""
