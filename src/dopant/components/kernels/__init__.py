"""Kernels: what says how alike two inputs are. They fill the slot `kernel` of the host `kernel-machine`."""
