"""DuckDB in a cage: what a user's SQL computes runs in small processes that can be killed."""
