"""Synthesis engines, one per file; installed as `privaudit.synth`, found through entry points."""
