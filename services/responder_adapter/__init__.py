"""Responder adapter: carries each call-out to its desk, by wire or by phone, and brings back what the desk says."""
