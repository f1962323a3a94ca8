"""What a training job looks like to a network: bytes and times per layer, buckets, priorities, arrivals."""

from esa.workloads.architectures import Layer, layers
from esa.workloads.arrivals import Request, TraceError, poisson, read_trace
from esa.workloads.buckets import DDP_CAP_BYTES, DDP_FIRST_CAP_BYTES, buckets, priorities
from esa.workloads.profile import MODELS, Bucket, LayerGroup, Profile, measured_profile, profile

__all__ = [
    "DDP_CAP_BYTES",
    "DDP_FIRST_CAP_BYTES",
    "MODELS",
    "Bucket",
    "Layer",
    "LayerGroup",
    "Profile",
    "Request",
    "TraceError",
    "buckets",
    "layers",
    "measured_profile",
    "poisson",
    "priorities",
    "profile",
    "read_trace",
]
