"""The resident program on a physical host. Filled with the image daemons."""
