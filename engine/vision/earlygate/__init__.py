"""The early gate: its limits, its plain and fused forwards, its memory, its files."""
