"""The log of record: from the outbox to Kafka, and from Kafka to handlers."""
