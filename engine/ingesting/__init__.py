"""The parts of ingesting, one step a file; engine/ingest.py puts them in order."""
