"""The daemons' own journal. Filled with the image daemons."""
