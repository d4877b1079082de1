# The one place of the roll's name and version; src/rocks/__init__.py repeats the version, and a test holds them together.
ROLLNAME = rocks-virtual-clusters
VERSION  = 0.1.1
RELEASE  = 1
