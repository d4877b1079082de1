"""Commands that bring an earlier state of something of hosts back."""
