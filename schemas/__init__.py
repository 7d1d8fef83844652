"""What crosses Kafka, and nothing else: records, codec, topic names, the error tree."""
