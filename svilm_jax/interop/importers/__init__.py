"""Import of public weights into the towers: readers of source formats, and rules that map their arrays."""
