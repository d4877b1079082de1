"""The resident program on a NAS. Filled with the image daemons."""
