"""One answer of several stores: what a shard gives, and how what they give is merged."""
