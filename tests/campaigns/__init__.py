"""Campaigns: many kills, many bad inputs, hostile surroundings. Scripts that run on demand; docs/reliability.md has
their last results, and the tests beside them replay what is quick.
"""
