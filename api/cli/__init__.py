"""The command line: `dejavu-engine`."""
