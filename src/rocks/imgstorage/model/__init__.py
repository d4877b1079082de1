"""States, events, effects and schedule of an image; pure. Filled with the image daemons."""
