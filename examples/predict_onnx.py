"""Class probabilities of one image from an exported model, with numpy, onnxruntime and Pillow alone. Research use only.

python predict_onnx.py EXPORT/model.onnx scan.png
"""

import json
import os
import sys

import numpy as np
from PIL import Image, ImageOps

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
facts = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
shape = facts["preprocessing"]
if shape["fit"] != "squash" or shape["trim"]:
    sys.exit(f"this example covers fit squash without trim, not fit {shape['fit']}, trim {shape['trim']}")
image = ImageOps.exif_transpose(Image.open(sys.argv[2]))
if image.mode not in ("L", "RGB"):
    sys.exit(f"this example covers 8-bit gray and RGB images, not Pillow's mode {image.mode}")
image = image.convert("L" if shape["channels"] == 1 else "RGB")
image = image.resize((shape["size_px"], shape["size_px"]), Image.Resampling.BILINEAR)
pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)[None]
probs = session.run(["probs"], {"images": np.ascontiguousarray(pixels)})[0][0]
print(json.dumps(dict(zip(facts["classes"], probs.tolist(), strict=True))))
