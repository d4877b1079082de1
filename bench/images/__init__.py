"""The figures of image storage, measured in the lab: three machines, and a guest whose disk is on the NAS."""
