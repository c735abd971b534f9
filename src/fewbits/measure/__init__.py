"""Measures: numbers about a model, each with its unit, protocol, uncertainty and count. One file a measure.

The functions `size`, `perplexity` and `accuracy` bear the names of their files; here the functions are meant.
"""

from fewbits.measure.accuracy import accuracy
from fewbits.measure.divergence import Divergence, Remembered, image_divergence, text_divergence
from fewbits.measure.memory import peak_memory
from fewbits.measure.perplexity import perplexity
from fewbits.measure.protocols import Protocol, parse_protocol
from fewbits.measure.quality import image_quality, text_quality
from fewbits.measure.result import Measure
from fewbits.measure.size import file_size, planned_size, resident, size
from fewbits.measure.speed import Generation, Timing, generation, generations, latencies, latency, quantize_time

__all__ = [
    "Divergence",
    "Generation",
    "Measure",
    "Protocol",
    "Remembered",
    "Timing",
    "accuracy",
    "file_size",
    "generation",
    "generations",
    "image_divergence",
    "image_quality",
    "latencies",
    "latency",
    "parse_protocol",
    "peak_memory",
    "perplexity",
    "planned_size",
    "quantize_time",
    "resident",
    "size",
    "text_divergence",
    "text_quality",
]
