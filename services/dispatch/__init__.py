"""Dispatch: which desks are called out for a person in danger, and how their joint response ends."""
