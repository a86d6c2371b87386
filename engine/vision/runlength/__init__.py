"""Run-length tokens: a patch whose pixels repeat is computed once for the run of its frames."""
