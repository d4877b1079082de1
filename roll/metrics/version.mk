# The same as in roll-metrics.xml; the build compares them.
ROLLNAME = metrics
VERSION  = 0.1
RELEASE  = 1
