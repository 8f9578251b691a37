"""Is HowTo100M read, cut and prepared as its authors meant it?"""
