"""Which adapter a query resembles most: pure of Kafka, of the clock, and of I/O but the model."""
