"""Campaigns: thousands of wrong files, hundreds of kills. `make campaign` runs them whole, in about half an hour:

    python -m tests.campaign.mutants --count 50000 --seed 1
    python -m tests.campaign.kills --count 200 --seed 1

`make test-slow` runs a small part of them. Every trial follows from the seed and its number, which a failure names.
"""
