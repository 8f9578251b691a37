"""Web page for a trained model: text-to-video search and phrase grounding. Gradio is an optional extra, `serve`."""
