"""What commands are about, declared once for all scopes: `scopes` makes the commands of a noun."""
