"""Telling people outside this system, and noticing that a process has fallen silent."""
