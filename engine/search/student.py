"""Student's t: the error of the mean of a small sample."""

from statistics import NormalDist


def student(confidence: float, freedom: int) -> float:
    """Quantile of Student's t (Cornish and Fisher's expansion, good to 1 % from 5 degrees up)."""
    z = NormalDist().inv_cdf(confidence)
    first = (z**3 + z) / (4 * freedom)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
