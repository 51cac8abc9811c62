"""The command `jingyi`."""
