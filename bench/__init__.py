"""The figures of the design, measured side by side on this machine: `make bench` prints one table of them."""
