"""What both worlds need: folders of results, progress."""
