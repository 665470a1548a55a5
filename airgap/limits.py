"""Limits on what comes from outside: how much is read, counted or waited for before it is refused.

A limit is far above what honest parts send, and low enough that a hostile one costs little memory and time.
"""
