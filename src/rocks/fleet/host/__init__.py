"""On a host: its state folder, records that outlive a request, and the result of an `ensure_` function."""
