"""Auditor: compares what was raised, ordered and delivered, and rings itself where nobody else would."""
