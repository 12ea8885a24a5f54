"""Replies of vision-language models as other toolkits log them: one file a format."""
