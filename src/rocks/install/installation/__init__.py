"""One host is installed: its plan, its files, its reports."""
