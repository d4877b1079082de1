"""Virtual functions (SR-IOV): which one a machine gets."""
