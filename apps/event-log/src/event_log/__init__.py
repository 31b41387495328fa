"""An event logging system on Kafka: events in from files and HTTP, out to an index, alerts and an archive."""
