"""The program `comet`: words, options, tables, exit statuses. What a command does not need is not imported."""
