"""Mininet networks of P4 switches: no Open vSwitch, no OpenFlow controller."""
