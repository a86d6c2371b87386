"""Bytes of video become GOPs and frames."""
