"""Names in DNS and in /etc/hosts: zones, the name service, and their files."""
