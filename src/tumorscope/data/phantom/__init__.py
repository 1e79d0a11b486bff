"""The embedded data set: synthetic head MRI with tumours, boxes and planted faults, from a seed.

Read in this order: `spec` (what to generate), `fields` (noise and distances), `anatomy` (a head), `lesions`
(a tumour), `scanner` (from head to pixels), `build` (patients, splits, planted faults), `store` (files).
"""

from tumorscope.data.phantom.build import FlippedLabel, Pair, PhantomImage, PhantomSet, Truth, generate
from tumorscope.data.phantom.spec import CLASSES, GENERATOR_VERSION, PhantomSpec, parse_spec
from tumorscope.data.phantom.store import load_phantom, write_phantom

__all__ = [
    "CLASSES",
    "GENERATOR_VERSION",
    "FlippedLabel",
    "Pair",
    "PhantomImage",
    "PhantomSet",
    "PhantomSpec",
    "Truth",
    "generate",
    "load_phantom",
    "parse_spec",
    "write_phantom",
]
