"""What is said in a video, as text: read from its own streams and from files beside it."""
