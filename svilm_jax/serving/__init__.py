"""Web page for a trained model: text-to-video search and phrase grounding. It needs the optional extra `serve`."""
