"""Text: tokenizers, vocabulary training, prompts and review of captions."""
