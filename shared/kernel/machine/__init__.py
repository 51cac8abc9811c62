"""A machine and where it is kept: one door in (`learn`), state, deadline and outbox in one commit."""
