"""What machines boot from the network: DHCP, TFTP, boot actions, discovery."""
