"""An ingest on many machines, by Ray."""
