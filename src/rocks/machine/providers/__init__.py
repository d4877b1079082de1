"""What a start needs of other rooms: a module for each, and a row of `providers.table`."""
