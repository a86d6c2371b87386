"""ReuseViT: what it decides by, its plain and fused forwards, its memory, its files."""
