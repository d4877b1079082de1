"""ISO images of owners: what there is, and how it comes here, into the image library of the site."""
