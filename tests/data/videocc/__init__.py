"""Is VideoCC read, cut and prepared as its authors meant it?"""
