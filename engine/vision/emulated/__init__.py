"""CMC and Eventful as the Déjà Vu paper's artifact emulates them: copied tokens, no correction."""
