"""Find moments: an index of clip vectors with a table of the stretches of video that they stand for."""
