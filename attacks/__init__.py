"""Attacks, one per file; installed as `privaudit.attacks`, found through entry points."""
