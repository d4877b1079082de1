# The same as in roll-mpi.xml; the build compares them.
ROLLNAME = mpi
VERSION  = 0.1
RELEASE  = 1
