"""Objects that lie elsewhere: in buckets (S3, GCS, Azure) and behind https, read by ranges."""
