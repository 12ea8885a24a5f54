"""The page: ask a recording a question, find moments, read its timeline. Research only; not for clinical use."""
