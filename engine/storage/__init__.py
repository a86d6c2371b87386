"""What is stored, and how it survives a crash."""
