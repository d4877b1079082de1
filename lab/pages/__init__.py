"""Programs for developers: the pages that are written from the help of the commands, and the files of a new command."""
