"""Three machines with kernels of their own, run by QEMU in a network namespace, and strategies that steer them."""
