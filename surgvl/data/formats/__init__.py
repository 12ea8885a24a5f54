"""File formats that several data sets share: tables, question files, numbered pictures."""
