"""A service as a process: settings, HTTP, journal, what it stands on, and its orderly end."""
