"""Datasets on disk: hostile files in, arrays and notes out; release folders both ways; traces in released files."""
