"""Tasks for language models: a prompt in words, an answer that a program can check."""
