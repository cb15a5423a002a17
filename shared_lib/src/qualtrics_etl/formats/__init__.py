"""Client files, from bytes to typed rows and back: one module a format, and what all formats share."""
