"""A page to ask a trained model in: sentences for clips, phrases for places in them. Gradio is an extra, `serve`."""
