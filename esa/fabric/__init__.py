"""Networks as plain values: what hangs on what, and the shapes that there are. Knows nothing of ESA, P4 or time."""

from esa.fabric.graph import Cable, End, Graph, Link, Node
from esa.fabric.shapes import fat_tree, leaf_spine, rack

__all__ = ["Cable", "End", "Graph", "Link", "Node", "fat_tree", "leaf_spine", "rack"]
