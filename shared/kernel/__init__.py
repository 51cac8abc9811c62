"""The machine that turns pure decisions into services; it knows `Event`, and no event by name."""
