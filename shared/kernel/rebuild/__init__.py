"""The same projection again from the log of record, and whether store and log agree."""
