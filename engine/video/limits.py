"""What one file may ask for: work and memory grow with its content, not with what it claims."""

MOST_FPS = 240  # sampled frames per second
MOST_PIXELS = 36_000_000  # of one picture: 8K, and a little
MOST_SECONDS = 24 * 86_400.0  # of timeline: stretches are numbered by milliseconds, in 32 bits
HELD_SECONDS = 10.0  # a picture on screen for so long is a group of pictures by itself
READ_SECONDS = 60.0  # that opening, or one packet, may keep us waiting
PICTURE_SECONDS = 1.0  # of decoding, on the average, that a picture may take
