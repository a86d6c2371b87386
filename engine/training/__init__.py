"""Everything that is learned, by what it makes."""
