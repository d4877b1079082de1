"""Does an image's effects on this machine's devices. Filled with the image daemons."""
