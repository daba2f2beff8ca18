"""Weights and configs of other libraries' models."""
