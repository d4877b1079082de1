"""`make mutants`: mutation testing; the share of random changes of the sources that the tests find."""
