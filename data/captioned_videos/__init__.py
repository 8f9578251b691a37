"""How is a folder of captioned videos prepared? Any containers and codecs that FFmpeg reads, any usual annotation file."""
