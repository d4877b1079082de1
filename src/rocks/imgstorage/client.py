"""What an action may ask of image storage. Filled with the image daemons."""
