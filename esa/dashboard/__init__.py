"""Runs in a browser: one page, served by this machine, that loads nothing from anywhere else.

serving.py  the HTTP server: what it answers, to whom
folders.py  a run's folder as the page shows it, finished or under way
background.py  what takes a while, once, in a thread
static/     the page itself, and uPlot, which draws its lines
"""
