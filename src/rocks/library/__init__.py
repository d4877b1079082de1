"""The image library of a site: disk images and ISOs on the frontend, from which virtual machines get their disks.

An image is a file of root's and, beside it, a record that everybody reads. The record is written last, so an image that
was not imported to its end has none. Files of people are never given to QEMU or its tools as they are: they are copied
into the library first, where only root can change them.
"""
