"""The embedded platform: real Kafka, real Valkey and every program of Jingyi on one machine."""
