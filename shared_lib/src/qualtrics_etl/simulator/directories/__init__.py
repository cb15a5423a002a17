"""Directories: where contacts live, and by what they are told apart."""
