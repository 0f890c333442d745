"""The lakehouse on Spark and Iceberg: the same tables, rejects and counts as the engine on one machine, at any size."""
