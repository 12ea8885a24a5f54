"""Families of published video-text models, one a file: `surgvl.models.video_text.VideoText` is their contract."""
