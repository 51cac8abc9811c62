"""The smallest service there can be: it counts. The kernel is tried with it."""
