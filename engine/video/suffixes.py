"""How files of videos are called."""

import re

SUFFIXES = re.compile(
    r"\.(3g2|3gp|26[45]|asf|avi|dv|flv|gif|h26[45]|hevc|ivf|m2?ts|m4v|mkv|mov|mp4|mpe?g|mxf|nut|obu"
    r"|og[mv]|rm|rmvb|ts|vob|webm|wmv|wtv|y4m)",
    re.IGNORECASE,
)
