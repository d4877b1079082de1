"""`make mutants`: the share of random changes to the source that the tests find."""
