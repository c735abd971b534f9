"""What the GPU benchmarks share: the copy bandwidth, and the time of a list of calls replayed as one CUDA graph."""

from fewbits.doctor.gpu_limits import copy_bandwidth, event_seconds, graph_seconds

__all__ = ["copy_bandwidth", "event_seconds", "graph_seconds"]
