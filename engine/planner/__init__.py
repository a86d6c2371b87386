"""From SQL text to a plan over operators."""
