"""Mailing lists: whom a distribution goes to."""
