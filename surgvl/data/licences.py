"""Licences of data sets in words, with where they were read: one that nobody saw at its source is marked as such.

They were read in 2026 in the data sets' repositories and pages. Where a source was out of reach, SurgRec's authors list
sixteen licences, which they say they verified (`DATASETS.md` of github.com/Siiichenggg/SurgRec-open-source).
"""

SURGREC_SAYS = "the list of licences of SurgRec's authors, not at the source"


def licence_line(licence: str, read_in: str) -> str:
    """A licence and where it was read.

    >>> licence_line("CC BY 4.0", "its README"), licence_line("CC BY 4.0", "")
    ('CC BY 4.0 (read in its README)', 'CC BY 4.0 (not verified: read it at the source)')
    """
    return f"{licence} ({f'read in {read_in}' if read_in else 'not verified: read it at the source'})"
