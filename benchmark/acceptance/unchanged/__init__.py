"""Does a change leave all results as they were: runs of every program in two checkouts, and what differs in what they
leave.
"""
