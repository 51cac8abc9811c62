"""What Kafka is late with, told at the hearers' own endpoints."""
