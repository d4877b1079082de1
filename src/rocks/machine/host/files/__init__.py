"""Image files and block devices of guests: which ones a guest may have, and the machine that each belongs to."""
