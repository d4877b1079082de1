"""Who may do what: certificates, keys, accounts of people, secrets, and the audit log."""
