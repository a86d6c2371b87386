"""From scores to settled answers: selection, scores, curves, moments, grouping, exactness."""
