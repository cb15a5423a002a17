"""Surveys, as far as a distribution needs them."""
