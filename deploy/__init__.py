"""How Jingyi is set up and run, from one laptop to a cluster."""
