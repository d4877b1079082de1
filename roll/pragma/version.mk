# The same as in roll-pragma.xml; the build compares them.
ROLLNAME = pragma
VERSION  = 0.1
RELEASE  = 1
