"""The compiled CPU kernel: vectors, passes, the engine that runs plans, and its place in autograd."""
