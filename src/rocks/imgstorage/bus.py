"""The one door to the message broker. Filled with the image daemons."""
