"""What of this frontend and the site is ready, and the command for what is not."""
