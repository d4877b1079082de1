"""The eventually consistent view of the site, in SQL."""
