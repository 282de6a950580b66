"""A grid of synthesis settings x seeds: which setting leaks less, which is worth more, and what of that is noise."""
