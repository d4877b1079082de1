"""What `make demo` and the targets after it show, each on the site of `demo`."""
