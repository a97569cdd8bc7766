"""Honest peers, attackers and a year of days over the real trust code: does the score mean something?"""
