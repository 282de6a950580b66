"""The statistics of an audit: from scores to numbers that carry their interval, and to a verdict rule.

units      images to units of counting (persons where groups exist)
tally      where the members stand among the controls: all that the tests need, many draws at once
detection  is the ranking better than chance? (R0, top 20, AUC; Holm over the family)
exposure   how many are exposed? (TPR at 1 % FPR, exposed share, AUC, leakage scale, lists)
reach      attacks that recover k images
power      what would have been found (detection limits from planted members)
epsilon    lower bounds on a differential-privacy parameter from guesses
"""
